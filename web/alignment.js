// Which of the answer's words have been heard. Pure.
//
// Two countings of characters meet here: the server counts code points, JavaScript UTF-16 units.

/** @returns {number} the index in `text` at which its code point number `codePoints` begins */
export function unitsAt(text, codePoints) {
  let units = 0;
  for (let count = 0; count < codePoints && units < text.length; count++) {
    units += text.codePointAt(units) > 0xffff ? 2 : 1;
  }
  return units;
}

/**
 * The code point reached at `playedMs`; between two marks in proportion.
 *
 * @param {[number, number][]} marks ascending [code points, ms], each at its piece's end
 */
export function heardCodePoints(marks, playedMs) {
  let [fromChars, fromMs] = [0, 0];
  for (const [chars, ms] of marks) {
    if (playedMs < ms) {
      return fromChars + ((chars - fromChars) * (playedMs - fromMs)) / (ms - fromMs);
    }
    [fromChars, fromMs] = [chars, ms];
  }
  return fromChars;
}

/** Ends of the words of one text; scripts without spaces have words too. */
export class Words {
  constructor(locale) {
    this.segmenter = new Intl.Segmenter(locale, { granularity: "word" });
    this.text = "";
    this.ends = [];
  }

  /** The end of the word in which the index `units` lies; 0 stays 0: nothing has begun. */
  endAt(text, units) {
    if (units <= 0) return 0;
    if (text !== this.text) this.segment(text);
    return this.ends.find((end) => end >= units) ?? text.length;
  }

  segment(text) {
    this.text = text;
    this.ends = [];
    for (const { index, segment, isWordLike } of this.segmenter.segment(text)) {
      // Punctuation and spaces belong to the word before them.
      if (!isWordLike && this.ends.length > 0) this.ends.pop();
      this.ends.push(index + segment.length);
    }
  }
}

/**
 * @param {{text: string, marks: [number, number][], playedMs: number}} spoken
 * @param {Words} words
 * @returns {number} index in the text behind the last word that has been heard or begun
 */
export function heardUnits({ text, marks, playedMs }, words) {
  if (playedMs <= 0 || marks.length === 0) return 0;
  const reached = Math.max(1, Math.floor(heardCodePoints(marks, playedMs)));
  return words.endAt(text, unitsAt(text, reached));
}

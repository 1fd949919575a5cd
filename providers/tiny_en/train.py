"""Makes the model: `python -m providers.tiny_en.train STEP`; README.md beside it has the recipe."""

import argparse
import shutil
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m providers.tiny_en.train", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("tiny_en_work"), help="corpus, weights")
    steps = parser.add_subparsers(dest="step", required=True)
    corpus = steps.add_parser("corpus", help="synthesise what is trained on")
    corpus.add_argument("--shards", type=int, default=24, help="of 1,000 utterances each")
    fit = steps.add_parser("fit", help="train")
    fit.add_argument("--steps", type=int, default=12000)
    fit.add_argument("--start", type=Path, help="weights.npz to go on from")
    fit.add_argument("--peak-rate", type=float, default=1.5e-3, help="lower when going on")
    fit.add_argument("--clean-share", type=float, default=0.0, help="of batches without noise")
    for name, does in (("export", "write model.int8.onnx and tokens.txt"),
                       ("graph", "write HLG.fst for tokens.txt; needs kaldifst"),
                       ("evaluate", "print the tables of README.md")):  # fmt: skip
        one = steps.add_parser(name, help=does)
        one.add_argument("--to", type=Path, default=HERE)
    arguments = parser.parse_args()
    run(arguments)


def run(arguments: argparse.Namespace) -> None:
    work: Path = arguments.work
    if arguments.step == "corpus":
        from providers.tiny_en.corpus import make

        make(work / "corpus", arguments.shards)
    elif arguments.step == "fit":
        from providers.tiny_en.fit import fit

        start, rate, clean = arguments.start, arguments.peak_rate, arguments.clean_share
        fit(work / "corpus", work / "weights", arguments.steps, start, rate, clean)
    elif arguments.step == "export":
        from providers.tiny_en.export import export
        from providers.tiny_en.fit import load

        export(load(work / "weights" / "weights.npz"), arguments.to / "model.int8.onnx")
        shutil.copy(work / "weights" / "tokens.txt", arguments.to / "tokens.txt")
    elif arguments.step == "graph":
        from providers.tiny_en.graph import write

        write(arguments.to)
    else:
        from providers.tiny_en.report import report

        print(report(arguments.to))


if __name__ == "__main__":
    main()

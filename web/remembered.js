// Choices that outlive the page; storage may be forbidden, and the page works without.

function attempt(access) {
  try {
    return access();
  } catch {
    return null;
  }
}

export const remembered = {
  get: (name) => attempt(() => localStorage.getItem(`kaiwa.${name}`)),
  /** What was kept as JSON; null where it is none. */
  read: (name) => attempt(() => JSON.parse(localStorage.getItem(`kaiwa.${name}`))),
  set: (name, value) => attempt(() => localStorage.setItem(`kaiwa.${name}`, value)),
};

/** For this tab only. */
export const rememberedKey = {
  get: () => attempt(() => sessionStorage.getItem("kaiwa.key")) ?? "",
  set: (key) => attempt(() => sessionStorage.setItem("kaiwa.key", key)),
};

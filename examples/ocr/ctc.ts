// CTC: from class probabilities per time step to a text.

/** Class 0 is the blank, then come the keys in file order, then the space. */
export interface Alphabet {
  readonly classes: readonly string[];
}

/** Reads a PaddleOCR keys file: one character a line. */
export function parseKeys(file: string): Alphabet {
  const keys = file.split("\n").map((line) => line.replace(/\r$/, ""));
  while (keys.at(-1) === "") keys.pop();
  return { classes: ["", ...keys, " "] };
}

/** The most probable class of each time step; ties go to the lower class. `probabilities` is `steps x classes`. */
export function bestClasses(probabilities: Float32Array, countClasses: number): Uint16Array {
  if (countClasses < 1 || probabilities.length % countClasses !== 0) {
    throw new RangeError(
      `${probabilities.length} probabilities are no whole number of steps of ${countClasses} classes`,
    );
  }
  const best = new Uint16Array(probabilities.length / countClasses);
  for (let step = 0; step < best.length; step++) {
    const start = step * countClasses;
    let top = 0;
    for (let index = 1; index < countClasses; index++) {
      if ((probabilities[start + index] as number) > (probabilities[start + top] as number)) top = index;
    }
    best[step] = top;
  }
  return best;
}

/** Greedy decoding: runs of one class count once, blanks vanish. */
export function decodeCtc(best: ArrayLike<number>, alphabet: Alphabet): string {
  let text = "";
  let previous = 0;
  for (let step = 0; step < best.length; step++) {
    const index = best[step] as number;
    if (index !== previous && index !== 0) {
      const character = alphabet.classes[index];
      if (character === undefined) throw new RangeError(`class ${index}, the alphabet has ${alphabet.classes.length}`);
      text += character;
    }
    previous = index;
  }
  return text;
}

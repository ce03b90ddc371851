/** NaN or infinity in `tensor`. An expected failure: what it was found in is not trained on. */
export class NonFiniteError extends Error {
  override readonly name = "NonFiniteError";
  readonly tensor: string;
  constructor(tensor: string) {
    super(`${tensor} holds numbers that are not finite`);
    this.tensor = tensor;
  }
}

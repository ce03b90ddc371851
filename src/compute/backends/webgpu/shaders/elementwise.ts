/** Kernels with one invocation per element; each formula is the contract's. */
import { elementwise } from "../program.ts";

export const fill = elementwise({
  name: "fill",
  operands: { out: ["write", "f32"] },
  parameters: { value: "f32" },
  body: "out[i] = given.value;",
});

export const copy = elementwise({
  name: "copy",
  operands: { out: ["write", "bits"], source: ["read", "bits"] },
  body: "out[i] = source[i];",
});

export const add = elementwise({
  name: "add",
  operands: { out: ["write", "f32"], a: ["read", "f32"], b: ["read", "f32"] },
  body: "out[i] = a[i] + b[i];",
});

export const addScaled = elementwise({
  name: "add scaled",
  operands: { out: ["write", "f32"], x: ["read", "f32"] },
  parameters: { factor: "f32" },
  body: "out[i] += given.factor * x[i];",
});

/** `i` counts the columns that are added, row by row. */
export const addColumns = elementwise({
  name: "add columns",
  operands: { out: ["write", "f32"], source: ["read", "f32"] },
  parameters: { columns: "u32", out_width: "u32", source_width: "u32" },
  body: /* wgsl */ `
    let row = i / given.columns;
    let column = i % given.columns;
    out[row * given.out_width + column] += source[row * given.source_width + column];`,
});

const sigmoid = /* wgsl */ `
  fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(-x)); }`;

export const swigluForward = elementwise({
  name: "swiglu forward",
  operands: { out: ["write", "f32"], gate: ["read", "f32"], up: ["read", "f32"] },
  declarations: sigmoid,
  body: "out[i] = gate[i] * sigmoid(gate[i]) * up[i];",
});

/** silu′(x) = σ(x) · (1 + x · (1 − σ(x))). All inputs are read before any output is written: they may alias. */
export const swigluBackward = elementwise({
  name: "swiglu backward",
  operands: {
    d_gate: ["write", "f32"],
    d_up: ["write", "f32"],
    activated: ["write", "f32"],
    d_out: ["read", "f32"],
    gate: ["read", "f32"],
    up: ["read", "f32"],
  },
  declarations: sigmoid,
  body: /* wgsl */ `
    let g = gate[i];
    let u = up[i];
    let d = d_out[i];
    let s = sigmoid(g);
    d_gate[i] = d * u * s * (1.0 + g * (1.0 - s));
    d_up[i] = d * g * s;
    activated[i] = g * s * u;`,
});

/** cosines and sines: [position, half]; i counts pairs, [row, head, half]. */
export const rotary = elementwise({
  name: "rotary",
  operands: { x: ["write", "f32"], turns: ["read", "f32"] },
  parameters: { sequence: "u32", heads: "u32", half: "u32", position_offset: "u32", direction: "f32" },
  body: /* wgsl */ `
    let channel = i % given.half;
    let head = i / given.half;
    let position = given.position_offset + (head / given.heads) % given.sequence;
    let turn = 2u * (position * given.half + channel);
    let cosine = turns[turn];
    let sine = given.direction * turns[turn + 1u];
    let low = 2u * head * given.half + channel;
    let high = low + given.half;
    let a = x[low];
    let b = x[high];
    x[low] = a * cosine - b * sine;
    x[high] = b * cosine + a * sine;`,
});

export const adam = elementwise({
  name: "adam",
  operands: {
    parameters: ["write", "f32"],
    gradients: ["read", "f32"],
    first_moment: ["write", "f32"],
    second_moment: ["write", "f32"],
  },
  parameters: {
    gradient_scale: "f32",
    beta1: "f32",
    one_minus_beta1: "f32",
    beta2: "f32",
    one_minus_beta2: "f32",
    moment_rate: "f32",
    gradient_rate: "f32",
    root_scale: "f32",
    epsilon: "f32",
    decay_rate: "f32",
  },
  body: /* wgsl */ `
    let gradient = given.gradient_scale * gradients[i];
    let mean = given.beta1 * first_moment[i] + given.one_minus_beta1 * gradient;
    let variance = given.beta2 * second_moment[i] + given.one_minus_beta2 * gradient * gradient;
    first_moment[i] = mean;
    second_moment[i] = variance;
    let direction = given.moment_rate * mean + given.gradient_rate * gradient;
    let update = direction / (given.root_scale * sqrt(variance) + given.epsilon);
    parameters[i] -= update + given.decay_rate * parameters[i];`,
});

export const outerNesterov = elementwise({
  name: "outer nesterov",
  operands: { parameters: ["write", "f32"], velocity: ["write", "f32"], gradient: ["read", "f32"] },
  parameters: { learning_rate: "f32", momentum: "f32" },
  body: /* wgsl */ `
    let faster = given.momentum * velocity[i] + gradient[i];
    velocity[i] = faster;
    parameters[i] -= given.learning_rate * (gradient[i] + given.momentum * faster);`,
});

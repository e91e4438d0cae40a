// What TensorFlow.js answers: node answers.mjs MODEL.json PIXELS HEIGHT WIDTH [NODE ...]
// PIXELS holds uint8 RGB rows. Prints one JSON line: [{shape, data}, ...] of the nodes, or of the model's outputs.
// Needs @tensorflow/tfjs-core, tfjs-converter and tfjs-backend-wasm 4.22 in a node_modules folder above it,
// or where NODE_PATH's folder is named by TFJS.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const require = createRequire(path.join(path.resolve(process.env.TFJS ?? '.'), 'x.js'));
const tf = require('@tensorflow/tfjs-core');
const converter = require('@tensorflow/tfjs-converter');
const wasm = require('@tensorflow/tfjs-backend-wasm');

const [, , file, pixels, height, width, ...nodes] = process.argv;
wasm.setWasmPaths(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + '/');
await tf.setBackend('wasm');
await tf.ready();
const model = JSON.parse(fs.readFileSync(file));
const parts = model.weightsManifest.flatMap((group) => group.paths);
const blob = Buffer.concat(parts.map((p) => fs.readFileSync(path.join(path.dirname(file), p))));
const graph = await converter.loadGraphModel(tf.io.fromMemory({
  modelTopology: model.modelTopology, weightSpecs: model.weightsManifest.flatMap((group) => group.weights),
  weightData: blob.buffer.slice(blob.byteOffset, blob.byteOffset + blob.length), signature: model.signature,
  format: model.format,
}));
const input = tf.tensor(Int32Array.from(fs.readFileSync(pixels)), [1, +height, +width, 3], 'int32');
const feed = { [graph.inputs[0].name]: input };
const found = [].concat(nodes.length ? graph.execute(feed, nodes) : graph.execute(feed));
const rows = await Promise.all(found.map(async (t) => ({ shape: t.shape, data: Array.from(await t.data()) })));
process.stdout.write(JSON.stringify(rows) + '\n');

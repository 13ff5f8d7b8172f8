// Runs the loop by hand: node run.mjs wasm.wasm

import { readFile } from "node:fs/promises";
import process from "node:process";

const module = await readFile(process.argv[2]);
const { instance } = await WebAssembly.instantiate(module, {
    host: {
        set_timer: (timer, milliseconds) => setTimeout(() => instance.exports.fire(timer), milliseconds),
        print: (text, length) =>
            console.log(new TextDecoder().decode(new Uint8Array(instance.exports.memory.buffer, text, length))),
    },
});

// Node exits when no timer is left.
process.on("exit", (code) => {
    const done = instance.exports.done();
    console.log(done ? "all scenarios have ended" : "a scenario has not ended");
    process.exitCode = code || (done ? 0 : 1);
});
instance.exports.start();

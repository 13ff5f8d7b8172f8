//! The memory of the machine that the firmware runs on, and the linker's script of the runtime crate.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let target = env::var("TARGET").unwrap();
    let memory = match target.as_str() {
        // QEMU's microbit.
        "thumbv6m-none-eabi" => "FLASH : ORIGIN = 0, LENGTH = 256K\n RAM : ORIGIN = 0x20000000, LENGTH = 16K",
        // QEMU's mps2-an386.
        "thumbv7em-none-eabihf" => "FLASH : ORIGIN = 0, LENGTH = 4M\n RAM : ORIGIN = 0x20000000, LENGTH = 4M",
        // QEMU's virt.
        "riscv32imac-unknown-none-elf" => "RAM : ORIGIN = 0x80000000, LENGTH = 16M",
        _ => return,
    };
    let mut script = format!("MEMORY {{\n {memory}\n}}\n");
    if target.starts_with("riscv") {
        for region in ["TEXT", "RODATA", "DATA", "BSS", "HEAP", "STACK"] {
            script += &format!("REGION_ALIAS(\"REGION_{region}\", RAM);\n");
        }
    }
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    fs::write(out.join("memory.x"), script).unwrap();
    println!("cargo:rustc-link-search={}", out.display());
    if target.starts_with("riscv") {
        println!("cargo:rustc-link-arg-bins=-Tmemory.x");
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=--nmagic");
    println!("cargo:rerun-if-changed=build.rs");
}

//! QEMU's RISC-V machine: the core-local interruptor is the timer, and its software interrupt the DMA controller's.

use riscv::interrupt::Interrupt;
use riscv_rt::core_interrupt;

const SOFTWARE: *mut u32 = 0x200_0000 as *mut u32;
const COMPARE: *mut u32 = 0x200_4000 as *mut u32;
const TIME: *const u32 = 0x200_bff8 as *const u32;
/// Of the timer, at 10 MHz.
const TICK: u64 = 10_000;

/// Starts the timer, which ticks 1000 times a second.
pub fn start() {
    next_tick();
    // SAFETY: the handlers are below, and nobody relies on interrupts being masked.
    unsafe {
        riscv::register::mie::set_mtimer();
        riscv::register::mie::set_msoft();
        riscv::interrupt::enable();
    }
}

fn next_tick() {
    // SAFETY: the registers of the machine's timer, of which only the one hart makes use.
    unsafe {
        let (low, high) = (TIME, TIME.add(1));
        let now = loop {
            let before = high.read_volatile();
            let now = u64::from(low.read_volatile()) | u64::from(before) << 32;
            if high.read_volatile() == before {
                break now;
            }
        };
        let next = now + TICK;
        // Never earlier than meant, meanwhile.
        COMPARE.add(1).write_volatile(u32::MAX);
        COMPARE.write_volatile(next as u32);
        COMPARE.add(1).write_volatile((next >> 32) as u32);
    }
}

pub fn raise_dma_interrupt() {
    // SAFETY: the register of the machine's software interrupt.
    unsafe { SOFTWARE.write_volatile(1) };
}

/// Until an interrupt has been handled. One that comes before the call is made up for by the next tick.
pub fn wait_for_event() {
    riscv::asm::wfi();
}

#[core_interrupt(Interrupt::MachineTimer)]
fn timer() {
    next_tick();
    crate::time::tick();
}

#[core_interrupt(Interrupt::MachineSoft)]
fn software() {
    // SAFETY: as above.
    unsafe { SOFTWARE.write_volatile(0) };
    crate::dma::interrupt();
}

//! A Cortex-M: SysTick is the timer, and the first external interrupt the DMA controller's.

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{NVIC, Peripherals};
use cortex_m_rt::exception;

pub use cortex_m::asm::wfe as wait_for_event;

/// Of the core, in Hz. QEMU's mps2-an386 has 25 MHz, its microbit 16: there the ticks are somewhat longer.
const CLOCK: u32 = 25_000_000;

#[derive(Clone, Copy)]
struct Dma;

// SAFETY: the number of an external interrupt, always the same.
unsafe impl InterruptNumber for Dma {
    fn number(self) -> u16 {
        0
    }
}

/// Starts the timer, which ticks 1000 times a second.
pub fn start() {
    let mut peripherals = Peripherals::take().unwrap();
    // SAFETY: nobody relies on the interrupt being masked.
    unsafe { NVIC::unmask(Dma) };
    let timer = &mut peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CLOCK / 1000 - 1);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
}

pub fn raise_dma_interrupt() {
    NVIC::pend(Dma);
}

#[exception]
fn SysTick() {
    crate::time::tick();
}

#[exception]
unsafe fn DefaultHandler(number: i16) {
    assert!(number == 0, "an interrupt that nobody asked for");
    crate::dma::interrupt();
}

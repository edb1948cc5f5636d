#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| genesis::exchange::fuzz::fuzz_exchange(bytes));

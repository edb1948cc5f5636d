#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| genesis::venue::fuzz::fuzz_frames(bytes));

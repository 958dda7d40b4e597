#![no_main]
//! Feeds `stepwell_tests::fuzz::segment`.

// A panic of the Parquet reader that the engine turns into an error must not end the process, as libFuzzer's hook would.
libfuzzer_sys::fuzz_target!(init: drop(std::panic::take_hook()), |data: &[u8]| stepwell_tests::fuzz::segment(data));

#![no_main]
//! Feeds the target `sql` of the tests of `stepwell-query`.

#[path = "../../../query/tests/it/fuzz_target.rs"]
mod fuzz_target;

// A panic that a query turns into an error must not end the process, as libFuzzer's hook would.
libfuzzer_sys::fuzz_target!(init: drop(std::panic::take_hook()), |data: &[u8]| fuzz_target::sql(data));

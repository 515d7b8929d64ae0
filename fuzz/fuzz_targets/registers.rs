#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| memtopo_properties::cxl::registers(input));

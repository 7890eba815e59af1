//! What libFuzzer calls.

/// `target!(name)`, or `target!(name, repair)`: the entry points of the target of this name. Its files are made whole again by
/// `repair` after most mutations, so that what stands behind a checksum or a length is reached as well.
macro_rules! target {
    ($name:ident) => {
        static TARGET: std::sync::LazyLock<edgeclip_fuzz::Body> = std::sync::LazyLock::new(edgeclip_fuzz::$name::new);

        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
    };
    ($name:ident, $($repair:ident)::+) => {
        engine::target!($name);

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
            // Every fourth stays as it is.
            if seed.is_multiple_of(4) {
                return size;
            }
            let mut bytes = data[..size].to_vec();
            edgeclip_fuzz::$($repair)::+(&mut bytes);
            match data.get_mut(..bytes.len().min(max_size)) {
                Some(place) if place.len() == bytes.len() => place.copy_from_slice(&bytes),
                _ => return size,
            }
            bytes.len()
        });
    };
}

pub(crate) use target;

//! A GGUF container, and everything that can be asked of one.

use bytes::Bytes;
use edgeclip_gguf::{Array, File, Strings, Value};

use super::{Body, support::refused};

/// The target.
pub fn new() -> Body {
    Box::new(|input| {
        let file = match File::from_bytes(Bytes::copy_from_slice(input), "f.gguf") {
            Ok(file) => file,
            Err(error) => return refused(error),
        };
        for (key, value) in file.metadata().iter() {
            assert!(!value.to_string().contains('\n'), "not one line");
            // Each kind of conversion.
            let asked = [
                file.get::<u32>(key).err(),
                file.get::<i64>(key).err(),
                file.get::<f32>(key).err(),
                file.get::<bool>(key).err(),
                file.get::<&str>(key).err(),
                file.get::<&Strings>(key).err(),
                file.get::<&[f32]>(key).err(),
                file.get::<&Array>(key).err(),
                file.require::<&Value>(key).err(),
            ];
            asked.into_iter().flatten().for_each(refused);
        }
        file.require::<u32>("no.such.key").err().into_iter().for_each(refused);
        let mut end = 0;
        for tensor in file.tensors() {
            let data = file.data(tensor);
            assert_eq!(data.as_ref().map(|data| data.len() as u64), tensor.bytes);
            assert!(tensor.offset >= end, "tensors overlap");
            end = tensor.offset + tensor.bytes.unwrap_or(1);
            assert!(file.data_start() + end <= file.file_bytes(), "beyond the file");
            assert!(tensor.elements() > 0);
            assert_eq!(file.tensor(&tensor.name), Some(tensor));
        }
    })
}

//! The types that a conversion can be asked for.

use std::{fmt, str::FromStr};

use edgeclip_model::Format;
use serde::{Serialize, Serializer};

/// What to store matrices as. Which tensors keep more bits than asked for is a documented policy; see [`Options::pure`](crate::Options::pure).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Target {
    /// IEEE single precision: exact.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single: the range of one, 8 bits of precision.
    BF16,
    /// 8.5 bits a weight.
    #[default]
    Q8_0,
    /// 6.6 bits a weight, rows of a multiple of 256.
    Q6K,
    /// 6 bits a weight.
    Q5_1,
    /// 5.5 bits a weight.
    Q5_0,
    /// 5 bits a weight.
    Q4_1,
    /// 4.5 bits a weight, rows of a multiple of 256.
    Q4K,
    /// 4.5 bits a weight.
    Q4_0,
}

impl Target {
    /// All of them, largest first.
    pub const ALL: [Self; 10] =
        [Self::F32, Self::F16, Self::BF16, Self::Q8_0, Self::Q6K, Self::Q5_1, Self::Q5_0, Self::Q4_1, Self::Q4K, Self::Q4_0];

    /// The storage format.
    pub const fn format(self) -> Format {
        match self {
            Self::F32 => Format::F32,
            Self::F16 => Format::F16,
            Self::BF16 => Format::BF16,
            Self::Q8_0 => Format::Q8_0,
            Self::Q6K => Format::Q6K,
            Self::Q5_1 => Format::Q5_1,
            Self::Q5_0 => Format::Q5_0,
            Self::Q4_1 => Format::Q4_1,
            Self::Q4K => Format::Q4K,
            Self::Q4_0 => Format::Q4_0,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.format().name())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(|target| target.to_string()).join(", ");
        Self::ALL
            .into_iter()
            .find(|target| target.format().name() == name)
            .ok_or_else(|| format!("no type {name:?} to convert to (known: {})", known()))
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_names() {
        for target in Target::ALL {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        assert_eq!(
            "q5_k".parse::<Target>().unwrap_err(),
            "no type \"q5_k\" to convert to (known: f32, f16, bf16, q8_0, q6_k, q5_1, q5_0, q4_1, q4_k, q4_0)"
        );
    }
}

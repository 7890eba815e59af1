//! The types that a conversion can be asked for.

use std::{fmt, str::FromStr};

use edgeclip_model::Format;
use serde::{Serialize, Serializer};

/// What to store matrices as. Which tensors keep more bits than asked for is a documented policy; see [`Options::pure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Target {
    /// IEEE single precision: exact.
    F32,
    /// IEEE half precision.
    F16,
    /// 8.5 bits a weight.
    #[default]
    Q8_0,
    /// 4.5 bits a weight.
    Q4_0,
}

impl Target {
    /// All of them, largest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Q8_0, Self::Q4_0];

    /// The storage format.
    pub const fn format(self) -> Format {
        match self {
            Self::F32 => Format::F32,
            Self::F16 => Format::F16,
            Self::Q8_0 => Format::Q8_0,
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
        assert_eq!("q5_k".parse::<Target>().unwrap_err(), "no type \"q5_k\" to convert to (known: f32, f16, q8_0, q4_0)");
    }
}

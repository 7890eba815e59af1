//! What a pickle may name. Nothing of it is ever imported or called: a name stands for what the interpreter does in its place.

use safetensors::Dtype;

use super::pickle::Span;
use crate::error::shown;

/// A name that is allowed, as what it means here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Global {
    /// `torch._utils._rebuild_tensor` and its later versions: a tensor out of storage, offset, shape and strides.
    Tensor {
        /// Whether the element type is an argument (the seventh); else it is the storage's.
        typed: bool,
    },
    /// `torch._utils._rebuild_parameter`, `torch.jit._pickle.restore_type_tag`: the first argument.
    First,
    /// `collections.OrderedDict`.
    Dict,
    /// The class of a storage; none: bytes.
    Storage(Option<Dtype>),
    /// `torch.float32` and the like.
    Dtype(Dtype),
    /// A class of a TorchScript archive: `module\nname` in the pickle.
    Script(Span),
    /// Something that stands beside the tensors of checkpoints. What it would make is never looked at.
    Inert,
}

/// Modules and names that training checkpoints are full of, and TorchScript's attributes that are no tensors.
const INERT: [(&str, &[&str]); 10] = [
    ("_codecs", &["encode"]),
    ("argparse", &["Namespace"]),
    ("builtins", &["set", "frozenset", "list", "dict", "tuple", "int", "float", "complex", "bytearray"]),
    ("collections", &["defaultdict", "Counter"]),
    ("datetime", &["date", "datetime", "timedelta", "timezone"]),
    ("numpy", &["dtype", "ndarray"]),
    ("numpy.core.multiarray", &["scalar", "_reconstruct"]),
    ("pathlib", &["PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"]),
    ("torch", &["Size", "device"]),
    ("torch.jit._pickle", &["build_intlist", "build_doublelist", "build_boollist", "build_tensorlist"]),
];

/// What `module.name` means.
///
/// # Errors
/// That it is not allowed, by name.
pub(super) fn resolve(module: &str, name: &str) -> Result<Global, String> {
    // As Python 2 and the pickles of protocol 2 have it; and numpy 2.
    let module = match module {
        "__builtin__" => "builtins",
        "numpy._core.multiarray" => "numpy.core.multiarray",
        other => other,
    };
    match (module, name) {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => return Ok(Global::Tensor { typed: false }),
        ("torch._utils", "_rebuild_tensor_v3") => return Ok(Global::Tensor { typed: true }),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") | ("torch.jit._pickle", "restore_type_tag") => {
            return Ok(Global::First);
        }
        ("collections", "OrderedDict") => return Ok(Global::Dict),
        ("torch.storage", "UntypedStorage" | "_UntypedStorage" | "TypedStorage" | "_TypedStorage") => {
            return Ok(Global::Storage(None));
        }
        ("torch" | "torch.cuda", name) => {
            if let Some(class) = name.strip_suffix("Storage")
                && let Some(dtype) = storage(class)
            {
                return Ok(Global::Storage(Some(dtype)));
            }
            if let Some(dtype) = dtype(name) {
                return Ok(Global::Dtype(dtype));
            }
        }
        _ => {}
    }
    if INERT.iter().any(|(of, names)| *of == module && names.contains(&name)) {
        return Ok(Global::Inert);
    }
    let asked = shown(&format!("{module}.{name}"));
    // Python's classes start with a capital, or people are surprised.
    let is_class = name.rsplit('.').next().is_some_and(|last| last.starts_with(char::is_uppercase));
    Err(if is_class {
        format!(
            "the pickle asks for {asked}, which no state dict needs; nothing was executed; if it is a whole module that was saved, \
             load it in Python and save its state_dict()"
        )
    } else if module == "torch" || module.starts_with("torch.") {
        format!("the pickle asks for {asked}, which is not read; nothing was executed; save plain dense tensors")
    } else {
        format!("the pickle asks for {asked}, which no state dict needs; nothing was executed")
    })
}

fn storage(class: &str) -> Option<Dtype> {
    Some(match class {
        "Bool" => Dtype::BOOL,
        "Byte" => Dtype::U8,
        "Char" => Dtype::I8,
        "Short" => Dtype::I16,
        "Int" => Dtype::I32,
        "Long" => Dtype::I64,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Float" => Dtype::F32,
        "Double" => Dtype::F64,
        "ComplexFloat" => Dtype::C64,
        _ => return None,
    })
}

fn dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "bool" => Dtype::BOOL,
        "uint8" => Dtype::U8,
        "int8" => Dtype::I8,
        "int16" | "short" => Dtype::I16,
        "int32" | "int" => Dtype::I32,
        "int64" | "long" => Dtype::I64,
        "uint16" => Dtype::U16,
        "uint32" => Dtype::U32,
        "uint64" => Dtype::U64,
        "float16" | "half" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "float32" | "float" => Dtype::F32,
        "float64" | "double" => Dtype::F64,
        "float8_e4m3fn" => Dtype::F8_E4M3,
        "float8_e5m2" => Dtype::F8_E5M2,
        "complex64" => Dtype::C64,
        _ => return None,
    })
}

//! From what a pickle describes to windows on the file.

use std::collections::HashSet;

use bytes::Bytes;

use super::{
    super::stored::Stored,
    pickle::{NAME, Pickle, Row, VALUES, Value},
};
use crate::error::{SHOWN_NAMES, shown};

/// Most tensors, and most modules, of a checkpoint. A block of CLIP has 12 tensors.
const TENSORS: usize = 1 << 16;

/// How deep modules may stand in each other.
const DEPTH: usize = 64;

/// Where people put a state dict, in this order.
const WRAPPERS: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// A tensor by its name.
pub(super) type Named = (String, Row);

/// The class of a module by its dotted path.
pub(super) type Class = (String, String);

/// The tensors of a state dict, or of the first of the wrappers that holds some.
///
/// # Errors
/// That there are none, or what is wrong with a name.
pub(super) fn state_dict(pickle: &Pickle<'_>) -> Result<Vec<Named>, String> {
    let Value::Dict(root) = pickle.root else {
        return Err(format!("expected a state dict, found {}; save model.state_dict()", pickle.shown(pickle.root)));
    };
    let holds = |dict: Row| pickle.entries(dict).any(|(_, value)| matches!(value, Value::Tensor(_)));
    let wrapped = WRAPPERS.iter().find_map(|key| match pickle.get(root, key) {
        Some(Value::Dict(inner)) if holds(inner) => Some(inner),
        _ => None,
    });
    let dict = match wrapped {
        Some(inner) => inner,
        None if holds(root) => root,
        None => {
            let keys: Vec<String> = pickle.entries(root).take(SHOWN_NAMES).map(|(key, _)| pickle.shown(key)).collect();
            let more = pickle.entries(root).count() - keys.len();
            let keys = if keys.is_empty() { "no keys".into() } else { keys.join(", ") };
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Err(format!(
                "it holds no tensors: expected a state dict, or one under \"state_dict\", \"model_state_dict\" or \"model\", \
                 found {keys}{more}; save model.state_dict()"
            ));
        }
    };
    let (mut named, mut names) = (Vec::new(), HashSet::new());
    for (key, value) in pickle.entries(dict) {
        let Value::Tensor(tensor) = value else { continue };
        let name = pickle.name(key)?;
        if !names.insert(name) {
            return Err(format!("tensor {} is in the state dict twice", shown(name)));
        }
        push(&mut named, (name.to_owned(), tensor))?;
    }
    Ok(named)
}

/// A TorchScript module's tensors by their dotted paths, and the class of each module by its own.
///
/// # Errors
/// That the root is no module, or what is wrong with a name.
pub(super) fn modules(pickle: &Pickle<'_>) -> Result<(Vec<Named>, Vec<Class>), String> {
    let Value::Object(root) = pickle.root else {
        return Err(format!("expected a TorchScript module, found {}", pickle.shown(pickle.root)));
    };
    let (mut named, mut classes) = (Vec::new(), Vec::new());
    // Modules whose attributes are still to be looked at; the last one is next.
    let mut open = vec![(String::new(), root, 0)];
    let mut seen = 0;
    while let Some((path, object, depth)) = open.pop() {
        let (class, attributes) = pickle.object(object)?;
        push(&mut classes, (path.clone(), class))?;
        let mut names = HashSet::new();
        let mut inner = Vec::new();
        // A module in many places is looked at in each.
        seen += attributes.map_or(0, |row| pickle.entries(row).count());
        if seen > VALUES {
            return Err(too_many());
        }
        for (key, value) in attributes.into_iter().flat_map(|row| pickle.entries(row)) {
            if !matches!(value, Value::Tensor(_) | Value::Object(_)) {
                continue;
            }
            let key = pickle.name(key)?;
            let name = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            if !names.insert(key) {
                return Err(format!("the module has two attributes {}", shown(&name)));
            }
            if name.len() > NAME {
                return Err(format!("expected names of at most {NAME} bytes, found {}", shown(&name)));
            }
            match value {
                Value::Tensor(tensor) => push(&mut named, (name, tensor))?,
                Value::Object(_) if depth == DEPTH => {
                    return Err(format!("expected modules at most {DEPTH} deep, found {} in them", shown(&name)));
                }
                Value::Object(object) => push(&mut inner, (name, object, depth + 1))?,
                _ => {}
            }
        }
        if open.len() + inner.len() > TENSORS {
            return Err(too_many());
        }
        open.extend(inner.into_iter().rev());
    }
    Ok((named, classes))
}

fn push<T>(to: &mut Vec<T>, item: T) -> Result<(), String> {
    if to.len() == TENSORS {
        return Err(too_many());
    }
    to.push(item);
    Ok(())
}

fn too_many() -> String {
    format!("it has more than {TENSORS} tensors or modules; is it a checkpoint?")
}

/// A tensor as a window on `raw`, the whole of its storage. Expanded and overlapping ones may have more elements than the file.
///
/// # Errors
/// What does not fit, without the tensor's name.
pub(super) fn window(pickle: &Pickle<'_>, tensor: Row, name: String, raw: &Bytes) -> Result<Stored, String> {
    let tensor = pickle.tensor(tensor);
    let storage = pickle.storages[tensor.storage as usize];
    let dtype = tensor.dtype.ok_or("its type is that of a storage without one; save it with a newer PyTorch")?;
    let unit = storage.unit();
    let within = |from: usize, count: usize, unit: usize| {
        let start = from.checked_mul(unit)?;
        Some(start..start.checked_add(count.checked_mul(unit)?)?).filter(|range| range.end <= raw.len())
    };
    let beyond = |count: usize, what: &str| {
        format!("its storage of {count} elements of {unit} bytes{what} reaches beyond the file, which has {} for it", raw.len())
    };
    let mut range = within(0, storage.count, unit).ok_or_else(|| beyond(storage.count, ""))?;
    if let Some((offset, count)) = storage.view {
        range = within(offset, count, unit).ok_or_else(|| beyond(count, &format!(" from {offset} on")))?;
    }
    let raw = raw.slice(range);

    let (shape, strides) = pickle.dimensions(&tensor)?;
    let size = dtype.bitsize() / 8;
    // Where a dimension is 0, nothing is reached.
    if shape.contains(&0) {
        return Ok(Stored { name, dtype, shape, strides, bytes: raw.slice(0..0) });
    }
    let reach = |total: usize, (dimension, stride): (&usize, &usize)| (dimension - 1).checked_mul(*stride)?.checked_add(total);
    let last = shape.iter().zip(&strides).try_fold(tensor.offset, reach);
    let end = last.and_then(|last| last.checked_add(1)?.checked_mul(size)).filter(|end| *end <= raw.len());
    let end = end.ok_or_else(|| {
        format!(
            "its elements (offset {}, shape {}, strides {}, {dtype}) reach beyond its storage of {} bytes",
            tensor.offset,
            shown(&format!("{shape:?}")),
            shown(&format!("{strides:?}")),
            raw.len()
        )
    })?;
    Ok(Stored { name, dtype, shape, strides, bytes: raw.slice(tensor.offset * size..end) })
}

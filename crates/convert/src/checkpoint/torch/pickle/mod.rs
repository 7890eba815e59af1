//! Pickles, read by an interpreter that makes values and does nothing else. The opcodes are those that pickle protocols 2 to 5 and
//! PyTorch's own C++ pickler write; names are those of `globals`; everything else is refused by name.
//!
//! Values are small and copied, containers are rows of a table that values point into: whatever a pickle builds, be it nested as deep as
//! the file is long or holding itself, nothing here recurses, and memory is bounded by [`VALUES`].

mod machine;

use safetensors::Dtype;

use self::machine::Machine;
use super::globals::Global;
use crate::error::shown;

/// Largest pickle that is read. A state dict takes some 100 bytes a tensor, 250 with the optimizer's states.
pub(super) const LIMIT: usize = 64 << 20;

/// Most values that a pickle may make. A state dict takes some 25 a tensor, 55 with the optimizer's states. At 16 bytes each, with
/// containers, all of them are less than 300 MB.
pub(super) const VALUES: usize = 1 << 21;

/// Longest name of a tensor, bytes.
pub(super) const NAME: usize = 1024;

/// Most dimensions of a tensor, which is PyTorch's own limit.
const RANK: u32 = 64;

/// A piece of the pickle, or of [`Pickle::items`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.length as usize
    }
}

/// An index of one of the pickle's tables.
pub(super) type Row = u32;

#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 8 bytes, little-endian, in the pickle.
    Long(Span),
    /// In the pickle.
    Text(Span),
    /// In [`Pickle::items`].
    Tuple(Span),
    /// A row of the containers.
    List(Row),
    /// A row of the containers: key, value, key, value.
    Dict(Row),
    Object(Row),
    Global(Global),
    Storage(Row),
    Tensor(Row),
    /// Of no interest.
    Opaque,
}

/// An object of a TorchScript archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    class: Span,
    /// A row of the containers, as of a dict.
    attributes: Option<Row>,
}

/// Raw data outside the pickle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage {
    key: Span,
    /// None: bytes.
    pub(super) dtype: Option<Dtype>,
    /// Elements of the whole.
    pub(super) count: usize,
    /// Of the pre-zip format: the first element and the number of elements that it is a view of.
    pub(super) view: Option<(usize, usize)>,
}

impl Storage {
    /// Bytes of an element.
    pub(super) fn unit(&self) -> usize {
        self.dtype.map_or(1, |dtype| dtype.bitsize() / 8)
    }
}

/// A tensor as the pickle describes it; not checked against the storage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tensor {
    pub(super) storage: Row,
    pub(super) dtype: Option<Dtype>,
    /// Elements before the first.
    pub(super) offset: usize,
    shape: Span,
    strides: Span,
}

/// What a pickle holds.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    /// Where it ends.
    pub(super) end: usize,
    pub(super) root: Value,
    items: Vec<Value>,
    containers: Vec<Vec<Value>>,
    objects: Vec<Object>,
    pub(super) storages: Vec<Storage>,
    tensors: Vec<Tensor>,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` start with. `script`: classes of TorchScript are allowed.
    ///
    /// # Errors
    /// What is wrong with it, on one line.
    pub(super) fn read(bytes: &'a [u8], script: bool) -> Result<Self, String> {
        let pickle = Self {
            bytes: &bytes[..bytes.len().min(LIMIT)],
            end: 0,
            root: Value::None,
            items: Vec::new(),
            containers: Vec::new(),
            objects: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
        };
        let mut machine = Machine::new(pickle, script);
        match machine.run() {
            Ok(root) => Ok(Self { root, ..machine.pickle }),
            Err(_) if machine.pickle.end >= LIMIT => Err(format!("the pickle is larger than {LIMIT} bytes; is it a checkpoint?")),
            Err(problem) => Err(problem),
        }
    }

    /// A text, if it is one.
    pub(super) fn text(&self, value: Value) -> Option<&'a str> {
        std::str::from_utf8(self.raw(value)?).ok()
    }

    /// The bytes of a text.
    pub(super) fn raw(&self, value: Value) -> Option<&'a [u8]> {
        match value {
            Value::Text(span) => Some(&self.bytes[span.range()]),
            _ => None,
        }
    }

    /// Whether it is this text.
    pub(super) fn is(&self, value: Value, text: &str) -> bool {
        self.raw(value) == Some(text.as_bytes())
    }

    pub(super) fn is_long(&self, value: Value, digits: &[u8]) -> bool {
        matches!(value, Value::Long(span) if &self.bytes[span.range()] == digits)
    }

    /// Keys and values of a dict, in its order.
    pub(super) fn entries(&self, dict: Row) -> impl Iterator<Item = (Value, Value)> {
        self.containers[dict as usize].chunks_exact(2).map(|pair| (pair[0], pair[1]))
    }

    /// The value of a key that is a text: the last one, as Python has it.
    pub(super) fn get(&self, dict: Row, key: &str) -> Option<Value> {
        self.entries(dict).filter(|(other, _)| self.is(*other, key)).map(|(_, value)| value).last()
    }

    pub(super) fn list(&self, list: Row) -> &[Value] {
        &self.containers[list as usize]
    }

    /// Class and attributes of an object.
    pub(super) fn object(&self, object: Row) -> Result<(String, Option<Row>), String> {
        let Object { class, attributes } = self.objects[object as usize];
        Ok((self.name(Value::Text(class))?.replace('\n', "."), attributes))
    }

    pub(super) fn tensor(&self, tensor: Row) -> Tensor {
        self.tensors[tensor as usize]
    }

    pub(super) fn key(&self, storage: &Storage) -> &'a [u8] {
        &self.bytes[storage.key.range()]
    }

    /// A key of a dict for people and for names: not longer than names are.
    pub(super) fn name(&self, value: Value) -> Result<&'a str, String> {
        match value {
            Value::Text(span) if span.length as usize > NAME => {
                Err(format!("expected names of at most {NAME} bytes, found one of {}", span.length))
            }
            value => self.text(value).ok_or_else(|| format!("expected names that are texts, found {}", self.shown(value))),
        }
    }

    /// Shape and strides of a tensor.
    pub(super) fn dimensions(&self, tensor: &Tensor) -> Result<(Vec<usize>, Vec<usize>), String> {
        let sizes = |what: &str, span: Span| -> Result<Vec<usize>, String> {
            let size = |value: &Value| {
                size(*value).ok_or_else(|| format!("expected {what} of whole numbers, found {}", self.shown(*value)))
            };
            self.items[span.range()].iter().map(size).collect()
        };
        let (shape, strides) = (sizes("a shape", tensor.shape)?, sizes("strides", tensor.strides)?);
        if shape.len() != strides.len() {
            return Err(format!("expected as many strides as dimensions, found {} and {}", strides.len(), shape.len()));
        }
        Ok((shape, strides))
    }

    /// A value in an error message.
    pub(super) fn shown(&self, value: Value) -> String {
        match value {
            Value::None => "None".into(),
            Value::Bool(true) => "True".into(),
            Value::Bool(false) => "False".into(),
            Value::Int(value) => value.to_string(),
            Value::Long(_) => "a large number".into(),
            Value::Text(span) => format!("\"{}\"", shown(&String::from_utf8_lossy(&self.bytes[span.range()]))),
            Value::Tuple(_) => "a tuple".into(),
            Value::List(_) => "a list".into(),
            Value::Dict(_) => "a dict".into(),
            Value::Object(_) => "a module".into(),
            Value::Global(_) => "a class".into(),
            Value::Storage(_) => "a storage".into(),
            Value::Tensor(_) => "a tensor".into(),
            Value::Opaque => "another object".into(),
        }
    }
}

fn size(value: Value) -> Option<usize> {
    match value {
        Value::Int(value) => usize::try_from(value).ok(),
        _ => None,
    }
}

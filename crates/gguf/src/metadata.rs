//! Keys and values in the order of the file.

use std::collections::HashMap;

use crate::Value;

/// Metadata: an ordered map from keys to values. The order is that of the file, and is kept when a file is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
}

impl Metadata {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a key. A key that is already there keeps its place, and its old value is returned.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        if let Some(&i) = self.index.get(&key) {
            return Some(std::mem::replace(&mut self.entries[i].1, value));
        }
        self.index.insert(key.clone(), self.entries.len());
        self.entries.push((key, value));
        None
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.index.get(key).map(|&i| &self.entries[i].1)
    }

    /// Whether the key is there.
    pub fn contains_key(&self, key: &str) -> bool {
        self.index.contains_key(key)
    }

    /// Keys and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_place_when_its_value_changes() {
        let mut metadata = Metadata::new();
        assert_eq!(metadata.insert("b", 1u32), None);
        assert_eq!(metadata.insert("a", "x"), None);
        assert_eq!(metadata.insert("b", 2u32), Some(Value::U32(1)));
        assert_eq!(metadata.iter().collect::<Vec<_>>(), [("b", &Value::U32(2)), ("a", &Value::String("x".into()))]);
        assert_eq!(metadata.get("c"), None);
    }
}

//! Whether the weights and keys of a file are those that were written.

use edgeclip_gguf::File;
use edgeclip_model::schema;

/// The content id that a file has, and the one that all its bytes give.
pub(crate) struct ContentId {
    /// Absent in files of other converters.
    pub(crate) stored: Option<String>,
    pub(crate) computed: Result<String, edgeclip_model::Error>,
}

impl ContentId {
    /// Reads all bytes of the file.
    pub(crate) fn of(file: &File) -> Self {
        Self { stored: file.get::<String>(schema::keys::CONTENT_ID).ok().flatten(), computed: edgeclip_model::content_id(file) }
    }

    pub(crate) fn matches(&self) -> bool {
        matches!((&self.stored, &self.computed), (Some(stored), Ok(computed)) if stored == computed)
    }

    /// What is wrong, in a line that names the file.
    pub(crate) fn problem(&self, file: &File) -> Option<String> {
        let path = file.path().display();
        match self {
            Self { computed: Err(error), .. } => Some(error.to_string()),
            Self { stored: None, .. } => {
                Some(format!("{path}: there is no {} to verify; only edgeclip writes it", schema::keys::CONTENT_ID))
            }
            Self { stored: Some(stored), computed: Ok(computed) } => (stored != computed).then(|| {
                format!(
                    "{path}: the content id does not match: expected {stored}, found {computed}; the file is damaged or was edited, \
                     convert it again"
                )
            }),
        }
    }
}

//! Zero-shot classification: labels and prompt templates to one vector a label.

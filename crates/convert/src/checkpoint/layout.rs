//! How checkpoints name their tensors, and what has to be done to one to make it the schema's.

use edgeclip_model::{
    Tower,
    schema::{Id, Piece},
};

/// A family of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// transformers' `CLIPModel` and its one-tower relatives.
    HuggingFace,
    /// OpenAI's own classes, and open_clip's, which share their names.
    OpenAi {
        /// What the text encoder's names begin with: `""`, or `"text."` in open_clip's `CustomTextCLIP`.
        text: &'static str,
    },
}

/// Where a tensor of the schema comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    /// The tensor in the checkpoint.
    pub(super) name: String,
    /// Which third of it along the first dimension: query, key or value of a fused matrix.
    pub(super) third: Option<usize>,
    /// Whether it is stored as `x @ W` wants it, input first.
    pub(super) transposed: bool,
    /// A tensor that multiplies its rows, if the checkpoint has it (LayerScale).
    pub(super) scale: Option<String>,
}

/// Tensors that tell a layout, and what has to stand in front of a known name for all of them.
const ANCHORS: [(&str, Layout); 5] = [
    ("vision_model.embeddings.class_embedding", Layout::HuggingFace),
    ("text_model.embeddings.token_embedding.weight", Layout::HuggingFace),
    // Before the shorter name that it ends with.
    ("text.token_embedding.weight", Layout::OpenAi { text: "text." }),
    ("token_embedding.weight", Layout::OpenAi { text: "" }),
    ("visual.class_embedding", Layout::OpenAi { text: "" }),
];

/// What other models are known by, and what they are.
const OTHERS: [(&str, &str); 7] = [
    ("visual.layer1.", "a ResNet (RN50 and its kind), which cannot be converted yet"),
    ("visual.trunk.", "an image encoder out of timm (SigLIP, EVA, ConvNeXt and others), which cannot be converted yet"),
    ("visual.attn_pool.", "a CoCa or other model with an attentional pooler, which cannot be converted yet"),
    ("text.transformer.embeddings.", "a text encoder out of transformers (XLM-R, mT5 and others), which cannot be converted yet"),
    ("vision_model.head.", "a SigLIP model, which cannot be converted yet"),
    ("image_encoder.model.", "a MobileCLIP model, which cannot be converted yet"),
    ("optimizer", "the state of an optimizer, no model"),
];

impl Layout {
    /// The layout of these names and what stands in front of each, such as `"module."`.
    pub(super) fn find<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Option<(Self, &'n str)> {
        ANCHORS.into_iter().find_map(|(anchor, layout)| {
            let prefix = names.clone().find_map(|name| name.strip_suffix(anchor))?;
            (prefix.is_empty() || prefix.ends_with('.')).then_some((layout, prefix))
        })
    }

    /// What a checkpoint with these names is, if it is of a kind that is known and cannot be converted.
    pub(super) fn other<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Option<&'static str> {
        OTHERS.into_iter().find(|(part, _)| names.clone().any(|name| name.contains(part))).map(|(_, what)| what)
    }

    /// Where a tensor of the schema comes from.
    pub(super) fn recipe(self, id: Id) -> Recipe {
        match self {
            Self::HuggingFace => Recipe { name: hugging_face_name(id), third: None, transposed: false, scale: None },
            Self::OpenAi { text } => openai_recipe(id, text),
        }
    }

    /// Which encoder a tensor belongs to.
    pub(super) fn tower(self, name: &str) -> Option<Tower> {
        if name == "logit_scale" || name == "logit_bias" {
            return None;
        }
        let image = match self {
            Self::HuggingFace => name.starts_with("vision_model.") || name.starts_with("visual_projection."),
            Self::OpenAi { .. } => name.starts_with("visual."),
        };
        Some(if image { Tower::Image } else { Tower::Text })
    }

    /// Whether a tensor says nothing that its name and place do not say already.
    pub(super) fn is_buffer(self, name: &str) -> bool {
        match self {
            // 0, 1, 2 and so on, which older versions of transformers saved.
            Self::HuggingFace => name.ends_with("_model.embeddings.position_ids"),
            // The sizes are in OpenAI's archives; the mask was in state dicts of open_clip for a while, and is in each block of a module that
            // torch.jit.script compiled.
            Self::OpenAi { .. } => {
                ["input_resolution", "context_length", "vocab_size", "attn_mask"].contains(&name) || name.ends_with(".attn_mask")
            }
        }
    }
}

/// The name that transformers' `CLIPModel` has for a tensor of the schema.
fn hugging_face_name(id: Id) -> String {
    let model = match id.tower {
        Tower::Text => "text_model",
        Tower::Image => "vision_model",
    };
    let layer = |block: usize, part: &str| format!("{model}.encoder.layers.{block}.{part}");
    let stem = match (id.piece, id.tower) {
        // The one tensor without an ending.
        (Piece::ClassEmbedding, _) => return format!("{model}.embeddings.class_embedding"),
        (Piece::Projection, Tower::Text) => "text_projection".to_owned(),
        (Piece::Projection, Tower::Image) => "visual_projection".to_owned(),
        (Piece::TokenEmbedding, _) => format!("{model}.embeddings.token_embedding"),
        (Piece::PositionEmbedding, _) => format!("{model}.embeddings.position_embedding"),
        (Piece::PatchEmbedding, _) => format!("{model}.embeddings.patch_embedding"),
        // transformers' own spelling.
        (Piece::PreNorm, _) => format!("{model}.pre_layrnorm"),
        (Piece::PostNorm, Tower::Image) => format!("{model}.post_layernorm"),
        (Piece::PostNorm, Tower::Text) => format!("{model}.final_layer_norm"),
        (Piece::Query(block), _) => layer(block, "self_attn.q_proj"),
        (Piece::Key(block), _) => layer(block, "self_attn.k_proj"),
        (Piece::Value(block), _) => layer(block, "self_attn.v_proj"),
        (Piece::AttentionOutput(block), _) => layer(block, "self_attn.out_proj"),
        (Piece::Norm1(block), _) => layer(block, "layer_norm1"),
        (Piece::Norm2(block), _) => layer(block, "layer_norm2"),
        (Piece::MlpIn(block), _) => layer(block, "mlp.fc1"),
        (Piece::MlpOut(block), _) => layer(block, "mlp.fc2"),
    };
    format!("{stem}.{}", ending(id))
}

fn ending(id: Id) -> &'static str {
    if id.bias { "bias" } else { "weight" }
}

/// The same for OpenAI's `CLIP` (`clip/model.py`) and open_clip's, whose text encoder's names begin with `text`.
fn openai_recipe(id: Id, text: &str) -> Recipe {
    let tower = match id.tower {
        Tower::Text => text,
        Tower::Image => "visual.",
    };
    let plain = |name: String| Recipe { name, third: None, transposed: false, scale: None };
    let with_ending = |part: &str| plain(format!("{tower}{part}.{}", ending(id)));
    let block = |block: usize, part: &str| with_ending(&format!("transformer.resblocks.{block}.{part}"));
    let third = |index: usize, number: usize| Recipe {
        third: Some(number),
        ..plain(format!("{tower}transformer.resblocks.{index}.attn.in_proj_{}", ending(id)))
    };
    let scaled = |index: usize, part: &str, scale: &str| Recipe {
        scale: Some(format!("{tower}transformer.resblocks.{index}.{scale}.gamma")),
        ..block(index, part)
    };
    match (id.piece, id.tower) {
        (Piece::ClassEmbedding, _) => plain(format!("{tower}class_embedding")),
        (Piece::PositionEmbedding, _) => plain(format!("{tower}positional_embedding")),
        (Piece::TokenEmbedding, _) => with_ending("token_embedding"),
        (Piece::PatchEmbedding, _) => with_ending("conv1"),
        (Piece::PreNorm, _) => with_ending("ln_pre"),
        (Piece::PostNorm, Tower::Image) => with_ending("ln_post"),
        (Piece::PostNorm, Tower::Text) => with_ending("ln_final"),
        (Piece::Projection, Tower::Image) => Recipe { transposed: true, ..plain(format!("{tower}proj")) },
        (Piece::Projection, Tower::Text) => Recipe { transposed: true, ..plain(format!("{tower}text_projection")) },
        (Piece::Query(index), _) => third(index, 0),
        (Piece::Key(index), _) => third(index, 1),
        (Piece::Value(index), _) => third(index, 2),
        (Piece::AttentionOutput(index), _) => scaled(index, "attn.out_proj", "ls_1"),
        (Piece::Norm1(index), _) => block(index, "ln_1"),
        (Piece::Norm2(index), _) => block(index, "ln_2"),
        (Piece::MlpIn(index), _) => block(index, "mlp.c_fc"),
        (Piece::MlpOut(index), _) => scaled(index, "mlp.c_proj", "ls_2"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names as transformers 5.23 writes them.
    #[test]
    fn names_are_transformers() {
        let (text, image) = (Tower::Text, Tower::Image);
        for (id, expected) in [
            (Id::weight(text, Piece::TokenEmbedding), "text_model.embeddings.token_embedding.weight"),
            (Id::weight(text, Piece::PositionEmbedding), "text_model.embeddings.position_embedding.weight"),
            (Id::bias(text, Piece::Query(11)), "text_model.encoder.layers.11.self_attn.q_proj.bias"),
            (Id::weight(text, Piece::MlpIn(0)), "text_model.encoder.layers.0.mlp.fc1.weight"),
            (Id::bias(text, Piece::PostNorm), "text_model.final_layer_norm.bias"),
            (Id::weight(image, Piece::ClassEmbedding), "vision_model.embeddings.class_embedding"),
            (Id::weight(image, Piece::PatchEmbedding), "vision_model.embeddings.patch_embedding.weight"),
            (Id::weight(image, Piece::PreNorm), "vision_model.pre_layrnorm.weight"),
            (Id::weight(image, Piece::AttentionOutput(3)), "vision_model.encoder.layers.3.self_attn.out_proj.weight"),
            (Id::weight(image, Piece::MlpOut(3)), "vision_model.encoder.layers.3.mlp.fc2.weight"),
            (Id::bias(image, Piece::Norm2(3)), "vision_model.encoder.layers.3.layer_norm2.bias"),
            (Id::weight(image, Piece::PostNorm), "vision_model.post_layernorm.weight"),
            (Id::weight(text, Piece::Projection), "text_projection.weight"),
            (Id::weight(image, Piece::Projection), "visual_projection.weight"),
        ] {
            assert_eq!(hugging_face_name(id), expected);
        }
    }

    #[test]
    fn layouts_are_told_by_their_names() {
        let find = |names: &[&'static str]| Layout::find(names.iter().copied());
        assert_eq!(find(&["logit_scale", "text_model.embeddings.token_embedding.weight"]), Some((Layout::HuggingFace, "")));
        assert_eq!(find(&["model.vision_model.embeddings.class_embedding"]), Some((Layout::HuggingFace, "model.")));
        let plain = Layout::OpenAi { text: "" };
        assert_eq!(find(&["visual.class_embedding", "token_embedding.weight"]), Some((plain, "")));
        assert_eq!(find(&["module.visual.class_embedding", "module.token_embedding.weight"]), Some((plain, "module.")));
        let custom = Layout::OpenAi { text: "text." };
        assert_eq!(find(&["visual.class_embedding", "text.token_embedding.weight"]), Some((custom, "")));
        assert_eq!(find(&["_orig_mod.module.text.token_embedding.weight"]), Some((custom, "_orig_mod.module.")));
        assert_eq!(find(&["my_token_embedding.weight", "conv1.weight"]), None);
        assert!(Layout::other(["visual.layer1.0.conv1.weight"].into_iter()).is_some_and(|what| what.contains("ResNet")));
    }
}

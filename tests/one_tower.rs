//! Loading one encoder touches only its pages of the file, and a file may hold one encoder alone.

mod support;

use edgeclip::{Clip, Tower};
use edgeclip_convert::{Options, Target, convert};
use support::{Golden, Model, bits, checkpoint};

/// Bytes of a mapped file that this process has touched.
#[cfg(target_os = "linux")]
fn resident(path: &std::path::Path) -> u64 {
    let path = path.canonicalize().unwrap().display().to_string();
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut own, mut total, mut found) = (false, 0, false);
    for line in maps.lines() {
        // The line of a map ends with its file, the lines of its figures begin with their names.
        if let Some(size) = line.strip_prefix("Rss:") {
            if own {
                total += 1024 * size.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap();
            }
        } else if line.split_whitespace().next().is_some_and(|word| word.contains('-')) {
            own = line.ends_with(&path);
            found |= own;
        }
    }
    assert!(found, "{path} is not mapped");
    total
}

/// In f32, whose file is the largest; one encoder after the other, each in a map of its own.
#[cfg(target_os = "linux")]
#[test]
fn an_encoder_touches_its_own_pages_only() {
    // The kernel maps up to 64 KiB around a page that is touched; the header is read whole.
    const AROUND: u64 = 128 << 10;
    for (tower, prefix, projection) in [(Tower::Text, "t.", "text_projection"), (Tower::Image, "v.", "visual_projection")] {
        let model = Model::new("demo", Target::F32);
        let (clip, golden) = (&model.clip, Golden::new("demo"));
        match tower {
            Tower::Text => drop(clip.encode_text(&golden.tokens(clip)).unwrap()),
            Tower::Image => drop(clip.encode_image(&golden.pixels(clip)).unwrap()),
        }
        let file = clip.file();
        let is_own = |name: &str| name.starts_with(prefix) || name.starts_with(projection);
        let own: u64 = file.tensors().iter().filter(|info| is_own(&info.name)).filter_map(|info| info.bytes).sum();
        let other = file.file_bytes() - file.data_start() - own;
        // What is packed is let go of; the table of tokens is read in place.
        let table = file.tensor("t.token_embd.weight").and_then(|info| info.bytes).filter(|_| tower == Tower::Text).unwrap_or(0);
        let most = file.data_start() + table + 2 * AROUND;
        assert!(other.min(own - table) > 8 * AROUND, "the encoders are too small to tell");
        let found = resident(clip.path());
        println!("{tower}: {found} bytes resident of {}, {own} of them its own", file.file_bytes());
        assert!(found <= most, "{tower}: {found} bytes resident, expected at most {most}");
        // What is read and not let go of is seen.
        let bytes = |info| file.data(info).unwrap().iter().map(|&byte| u64::from(byte)).sum::<u64>();
        assert!(file.tensors().iter().map(bytes).sum::<u64>() > 0);
        let found = resident(clip.path());
        assert!(found >= own + other, "{tower}: only {found} bytes resident: is this measured at all?");
    }
}

/// A file of one encoder has the vectors of the file of both, bit for bit, and says what it lacks.
#[test]
fn a_file_of_one_encoder() {
    let golden = Golden::new("odd-blocks");
    let both = Model::new("odd-blocks", Target::Q8_0);
    let folder = tempfile::tempdir().unwrap();
    let one = |tower| {
        let path = folder.path().join(format!("{tower}.gguf"));
        let options = Options { tower: Some(tower), ..Options::default() };
        let report = convert(&checkpoint("odd-blocks"), &path, &options, &()).unwrap();
        let check = report.check.unwrap();
        assert_eq!((check.image.is_some(), check.text.is_some()), (tower == Tower::Image, tower == Tower::Text));
        Clip::load(path).unwrap()
    };
    let (image, text) = (one(Tower::Image), one(Tower::Text));
    let pixels = golden.pixels(&image);
    assert_eq!(bits(&image.encode_image(&pixels).unwrap()), bits(&both.clip.encode_image(&pixels).unwrap()));
    let tokens = golden.tokens(&text);
    assert_eq!(bits(&text.encode_text(&tokens).unwrap()), bits(&both.clip.encode_text(&tokens).unwrap()));
    assert!(image.tokenize(&["a"]).unwrap_err().to_string().contains("no text encoder"));
    assert!(text.encode_image(&[]).unwrap_err().to_string().contains("no image encoder"));
    assert_eq!(image.config().logit_scale, golden.logit_scale);
    for (clip, own, other) in [(&image, "v.", "t."), (&text, "t.", "v.")] {
        assert!(clip.file().tensors().iter().all(|info| !info.name.starts_with(other)));
        assert!(clip.file().tensors().iter().any(|info| info.name.starts_with(own)));
    }
}

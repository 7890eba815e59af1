//! Files that are cut, corrupt, absurd or no pictures: a clear error each, no panic, no memory for pixels that are not there.

use edgeclip_preprocess::{Decode, Error, Format, Options, Picture, Resize, Spec, decode, preprocess};

fn picture(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pictures").join(name);
    std::fs::read(path).expect("the goldens are in the repository")
}

fn error(bytes: &[u8]) -> Error {
    decode(bytes, &Options::default()).expect_err("a bad file")
}

/// A PNG with a header of these sides, 8-bit RGB, and no picture data to speak of.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let crc = |data: &[u8]| {
        !data.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        })
    };
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let ihdr = [b"IHDR".as_slice(), &width.to_be_bytes(), &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    for chunk in [ihdr, b"IDAT\x78\x9c\x03\0\0\0\0\x01".to_vec(), b"IEND".to_vec()] {
        out.extend((chunk.len() as u32 - 4).to_be_bytes());
        out.extend(&chunk);
        out.extend(crc(&chunk).to_be_bytes());
    }
    out
}

#[test]
fn a_huge_png_header_is_refused_before_anything_is_allocated() {
    let error = error(&png_header(60_000, 60_000));
    assert_eq!(error, Error::TooManyPixels { width: 60_000, height: 60_000, limit: 178_956_970 });
    assert_eq!(
        error.to_string(),
        "picture of 60000 x 60000 pixels is over the limit of 178956970 pixels; raise it with --max-pixels"
    );
    // Below the cap, but 78 bytes cannot hold it: deflate expands 1,032-fold at most.
    let error = self::error(&png_header(13_000, 13_000));
    assert!(matches!(error, Error::Damaged { format: Format::Png, .. }), "{error}");
}

/// The cap counts pixels, of every format.
#[test]
fn the_cap_is_the_callers() {
    for (name, pixels) in [
        ("rgb-13x31.png", 403),
        ("rgb-420.jpg", 30653),
        ("lossless.webp", 1551),
        ("p.gif", 1395),
        ("p8.bmp", 1189),
        ("rgb.tif", 1053),
    ] {
        let at = |max_pixels| decode(&picture(name), &Options { max_pixels, ..Options::default() });
        assert!(at(pixels).is_ok(), "{name}");
        assert!(matches!(at(pixels - 1), Err(Error::TooManyPixels { limit, .. }) if limit == pixels - 1), "{name}");
    }
}

#[test]
fn other_files_are_named() {
    let text = b"This is a text file with the name of a picture.";
    assert_eq!(error(text).to_string(), "not a picture: expected PNG, JPEG, WebP, GIF, BMP or TIFF, found bytes \"This is \"");
    assert_eq!(error(b"").to_string(), "not a picture: the file is empty");
    assert_eq!(
        error(b"\x89PNG").to_string(),
        "not a picture: expected PNG, JPEG, WebP, GIF, BMP or TIFF, found bytes \"\\x89PNG\""
    );
    assert!(matches!(error(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1"), Error::UnknownFormat { .. }));
    // The name does not matter, the content does.
    assert_eq!(Format::of(&picture("rgb-420.jpg")), Some(Format::Jpeg));
}

#[test]
fn sides_of_zero_are_refused() {
    let mut bmp = picture("rgb.bmp");
    bmp[18..22].fill(0);
    assert_eq!(error(&bmp), Error::NoPixels { width: 0, height: 29 });
    let mut gif = picture("p.gif");
    gif[6..10].fill(0);
    let frame = gif.windows(9).position(|w| w == [0x2c, 0, 0, 0, 0, 45, 0, 31, 0]).expect("the frame's descriptor");
    gif[frame + 5..frame + 9].fill(0);
    assert!(matches!(error(&gif), Error::NoPixels { .. } | Error::Damaged { .. }));
    assert!(matches!(error(&png_header(0, 5)), Error::NoPixels { .. } | Error::Damaged { .. }));
}

/// One picture of every format and decoder.
const SAMPLES: [&str; 18] = [
    "rgb-47x61.png",
    "p4-interlaced.png",
    "exif-ztext.png",
    "rgb-420.jpg",
    "progressive.jpg",
    "restarts.jpg",
    "ycck.jpg",
    "lossless-alpha.webp",
    "lossy-alpha.webp",
    "animated-alpha.webp",
    "animated.gif",
    "offset-transparent.gif",
    "rgb.bmp",
    "rle8.bmp",
    "rle4.bmp",
    "rgb-lzw-predictor.tif",
    "1-group4.tif",
    "p.tif",
];

/// Options that a small crop decodes a JPEG at a reduced size with.
fn fast(options: &Options) -> Options {
    Options { decode: Decode::Fast, ..options.clone() }
}

/// Cut anywhere in its first nine tenths, a file is an error.
#[test]
fn cut_files_are_errors() {
    for name in SAMPLES {
        let whole = picture(name);
        assert!(decode(&whole, &Options::default()).is_ok(), "{name}");
        // An animation's first frame may be whole although the file is cut.
        let upto = if name.starts_with("animated") { whole.len() / 4 } else { whole.len() * 9 / 10 };
        for step in 0..60 {
            let cut = upto * step / 60;
            assert_eq!(
                preprocess(&whole[..cut], &Spec::openai(8), &fast(&Options::default())).err(),
                decode(&whole[..cut], &Options::default()).err(),
                "{name} cut at {cut}"
            );
            match decode(&whole[..cut], &Options::default()) {
                Err(error) => assert!(!error.to_string().contains('\n'), "{name} cut at {cut}: {error}"),
                Ok(_) => panic!("{name} cut at {cut} of {} passes for whole", whole.len()),
            }
        }
    }
}

/// Changed bytes give an error or some picture of at most the size that the header states, never a panic.
#[test]
fn corrupt_files_do_not_panic() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let options = Options { max_pixels: 1 << 20, ..Options::default() };
    for name in SAMPLES {
        let whole = picture(name);
        for round in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..=round % 4 {
                // Half of the changes hit the headers.
                let range = if random(2) == 0 { bytes.len().min(64) } else { bytes.len() };
                let at = random(range);
                bytes[at] = [0, 0xff, 0x7f, 0x80, random(256) as u8][random(5)];
            }
            let picture = decode(&bytes, &options);
            // What is skipped is damaged all the same.
            let reduced = preprocess(&bytes, &Spec::openai(8), &fast(&options));
            assert_eq!(reduced.err(), picture.as_ref().err().cloned(), "{name}, round {round}");
            if let Ok(picture) = picture {
                assert!(picture.width() * picture.height() <= 1 << 20, "{name}, round {round}");
                Spec::openai(8).crop(&picture).expect("a decoded picture can be cropped");
            }
        }
    }
}

/// 1 x 60,000 would be 224 x 13,440,000 whole; only the crop is made, and equal to the reference where that can be
/// run (`tests/golden.rs`). Here: it is done, and shows the middle of the picture.
#[test]
fn elongated_pictures_cost_little() {
    let tall = Picture::from_rgb(1, 60_000, (0..60_000).flat_map(|y| [((y + 100) / 200 % 256) as u8; 3]).collect()).unwrap();
    let crop = Spec::openai(224).crop(&tall).unwrap();
    assert_eq!(crop.crop().unwrap(), vec![150; 224 * 224 * 3]);
    let wide = Picture::from_rgb(60_000, 1, vec![7; 180_000]).unwrap();
    assert_eq!(Spec::openai(336).crop(&wide).unwrap().crop().unwrap(), vec![7; 336 * 336 * 3]);
    let squash = Spec { resize: Resize::Squash, ..Spec::openai(224) };
    assert_eq!(squash.crop(&wide).unwrap().crop().unwrap(), vec![7; 224 * 224 * 3]);
}

/// What cannot be resized in bounded memory or time is an error, as it is in Pillow.
#[test]
fn absurd_sides_are_errors() {
    let line = Picture::from_rgb(1, 10_000_000, vec![0; 30_000_000]).unwrap();
    assert_eq!(Spec::openai(224).crop(&line), Err(Error::TooElongated { width: 1, height: 10_000_000 }));
    let squash = Spec { resize: Resize::Squash, ..Spec::openai(224) };
    assert_eq!(squash.crop(&line), Err(Error::TooElongated { width: 1, height: 10_000_000 }));
    assert!(matches!(
        preprocess(&picture("rgb.bmp"), &Spec::openai(0), &Options::default()),
        Err(Error::Spec { field: "size", .. })
    ));
}

/// What `docs/preprocessing.md` declares unread says so, and is not called damaged.
#[test]
fn what_is_not_read_is_named() {
    let unsupported = |bytes: &[u8], format: Format| match error(bytes) {
        Error::Unsupported { format: found, what } => {
            assert_eq!(found, format);
            what
        }
        other => panic!("{other}"),
    };
    // The frame header's marker says which coding the scans use: SOF9 is sequential arithmetic.
    let mut jpeg = picture("rgb-420.jpg");
    let frame = jpeg.windows(4).position(|w| w == [0xff, 0xc0, 0, 0x11]).expect("a frame header");
    jpeg[frame + 1] = 0xc9;
    assert_eq!(unsupported(&jpeg, Format::Jpeg), "arithmetic coding");
    jpeg[frame + 1] = 0xc3;
    assert_eq!(unsupported(&jpeg, Format::Jpeg), "lossless or hierarchical coding");
    jpeg[frame + 1] = 0xc0;
    jpeg[frame + 4] = 12;
    assert_eq!(unsupported(&jpeg, Format::Jpeg), "12 bits a sample");

    // TIFF: the value of a SHORT entry, little-endian, follows its tag, type and count.
    let tiff = |tag: u16, value: u16| {
        let mut bytes = picture("rgb.tif");
        let entry = [tag.to_le_bytes(), 3u16.to_le_bytes(), [1, 0], [0, 0]].concat();
        let at = bytes.windows(8).position(|w| w == entry).expect("the entry") + 8;
        bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    assert_eq!(unsupported(&picture("planes.tif"), Format::Tiff), "a plane for each channel");
    assert!(unsupported(&tiff(259, 7), Format::Tiff).contains("JPEG"));
    // Group 3 fax; the field "fill order" in the place of one that says nothing here.
    assert!(unsupported(&tiff(259, 3), Format::Tiff).contains("Fax3"));
    let mut reversed = tiff(284, 2);
    let planar = reversed.windows(4).position(|w| w == [28, 1, 3, 0]).expect("the planar configuration");
    reversed[planar..planar + 2].copy_from_slice(&266u16.to_le_bytes());
    assert_eq!(unsupported(&reversed, Format::Tiff), "bits from the low end of each byte");
    assert!(matches!(error(b"II+\0\x08\0\0\0"), Error::UnknownFormat { .. }), "BigTIFF");
    assert!(unsupported(&tiff(262, 6), Format::Tiff).contains("photometric interpretation 6"));
}

/// A chunk of metadata that claims 4 GiB: nothing of that size is allocated, and the picture is whole all the same.
#[test]
fn metadata_longer_than_the_file_are_none() {
    let file = picture("exif-6.webp");
    let chunk = file.windows(4).position(|w| w == b"EXIF").expect("a chunk of metadata");
    let mut longer = file.clone();
    longer[chunk + 4..chunk + 8].copy_from_slice(&0xeb00_001au32.to_le_bytes());
    let as_stored = Options { exif: false, ..Options::default() };
    assert_ne!(decode(&file, &Options::default()), decode(&file, &as_stored));
    assert_eq!(decode(&longer, &Options::default()), decode(&file, &as_stored));
}

/// A field of a TIFF that claims 50 million values in a file of 3 kB: nothing is allocated for them.
#[test]
fn fields_longer_than_the_file_are_refused() {
    let mut tiff = picture("rgb.tif");
    // Tag, type (u32) and count, little-endian.
    let width = tiff.windows(8).position(|w| w == [0, 1, 4, 0, 1, 0, 0, 0]).expect("the width");
    tiff[width + 4..width + 8].copy_from_slice(&50_356_999u32.to_le_bytes());
    assert_eq!(
        error(&tiff).to_string(),
        "damaged TIFF picture: field 256 has 50356999 values, more than the file has bytes for; get a whole copy of it"
    );
}

/// The data of a WebP have sides of their own, which nothing bounds: those of its canvas or frame count, and other ones are refused
/// before there is room for them.
#[test]
fn webp_data_larger_than_their_canvas_are_refused() {
    let still = picture("lossy-alpha.webp");
    // The same as the one frame of an animation: its chunks of alpha and colour follow the header of 18 bytes.
    let chunk = |name: &[u8], body: &[u8]| [name, &(body.len() as u32).to_le_bytes(), body].concat();
    let (header, data) = (&still[20..30], &still[30..]);
    let flags = [header[0] | 2, 0, 0, 0];
    let frame = [&[0; 6], &header[4..10], &[0; 4], data].concat();
    let chunks = [chunk(b"VP8X", &[&flags, &header[4..]].concat()), chunk(b"ANIM", &[0; 6]), chunk(b"ANMF", &frame)];
    let animated = chunk(b"RIFF", &[b"WEBP", &chunks.concat()[..]].concat());
    for mut file in [still, animated] {
        let picture = decode(&file, &Options::default()).unwrap();
        let sides = format!("{} x {}", picture.width(), picture.height());
        // The mark that the sides follow.
        let mark = file.windows(3).position(|w| w == [0x9d, 0x01, 0x2a]).expect("lossy data");
        file[mark + 3..mark + 7].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
        assert_eq!(
            error(&file).to_string(),
            format!("damaged WebP picture: data of 16383 x 16383 pixels in a frame of {sides}; get a whole copy of it")
        );
    }
}

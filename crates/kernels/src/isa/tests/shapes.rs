//! The whole path of a product on every instruction set: all the ways in which rows, columns and groups can be cut, and the shapes of the models.

use super::*;

const EPILOGUES: [Epilogue; 5] = [
    Epilogue::Store,
    Epilogue::Add,
    Epilogue::Activate(Activation::QuickGelu),
    Epilogue::Activate(Activation::Gelu),
    Epilogue::Activate(Activation::GeluTanh),
];

const COLUMNS: [usize; 10] = [1, 15, 16, 17, 31, 32, 33, 48, 63, 65];

/// The output, in which every value was written and beside which none was.
fn forward(linear: &Linear, x: &Activations, epilogue: Epilogue) -> Vec<u32> {
    const EDGE: usize = 40;
    let canary = f32::from_bits(0x7fc1_2345);
    let len = x.m() * linear.n();
    let mut all = vec![canary; len + 2 * EDGE];
    let out = &mut all[EDGE..][..len];
    if epilogue == Epilogue::Add {
        out.iter_mut().enumerate().for_each(|(i, out)| *out = (i % 11) as f32);
    }
    linear.forward(x, epilogue, out, Threads::One);
    let all = bits(&all);
    let edges = all[..EDGE].iter().chain(&all[EDGE + len..]);
    assert!(edges.into_iter().all(|&value| value == canary.to_bits()), "beside an output of {len}");
    let out = all[EDGE..][..len].to_vec();
    assert!(out.iter().all(|&value| !f32::from_bits(value).is_nan()), "an output of {len} has holes");
    out
}

/// Rows of which one in five is zero and one is constant.
fn inputs(m: usize, k: usize, random: &mut Random) -> Vec<f32> {
    let mut x = random.floats(m * k);
    for (r, row) in x.chunks_exact_mut(k).enumerate() {
        match r % 5 {
            3 => row.fill(0.0),
            4 => row.fill(-3.0),
            _ => {}
        }
    }
    x
}

/// Each number of rows of `heights` through `pack`'s linear of every instruction set and of the scalar one.
fn compare(case: &str, heights: &[usize], random: &mut Random, pack: impl Fn(&'static Kernels) -> Linear) {
    let oracle = pack(scalar());
    let linears: Vec<Linear> = others().into_iter().map(pack).collect();
    let mut activations = Activations::default();
    for &m in heights {
        let x = inputs(m, oracle.k(), random);
        let epilogue = EPILOGUES[(m + oracle.n()) % EPILOGUES.len()];
        activations.set(&oracle, &x, Threads::One);
        let expected = forward(&oracle, &activations, epilogue);
        for linear in &linears {
            activations.set(linear, &x, Threads::One);
            let (kernels, n, k) = (linear.kernels(), linear.n(), linear.k());
            assert_eq!(linear.group(), oracle.group(), "{kernels:?} {case}");
            assert!(forward(linear, &activations, epilogue) == expected, "{kernels:?} {case}: {m} x {n} x {k}, {epilogue:?}");
        }
    }
}

fn biased(kernels: &'static Kernels, rows: &Rows, groups: Groups) -> Linear {
    let bias = (0..rows.n).map(|i| (i % 7) as f32 * 0.25).collect();
    Linear::grouped(kernels, std::slice::from_ref(rows), Some(bias), groups).unwrap()
}

/// Up to one row more than two of the highest tiles.
fn heights() -> Vec<usize> {
    (1..=2 * tile::MOST_ROWS + 1).collect()
}

#[test]
fn small_shapes_of_every_format() {
    let mut random = Random(1);
    for format in Format::ALL {
        let block = format.block_len().max(32);
        for k in [block, 2 * block, 3 * block, if block == 256 { 1024 } else { 608 }] {
            for n in COLUMNS {
                let rows = quantized(format, n, k, &mut random);
                compare(&format.to_string(), &heights(), &mut random, |kernels| biased(kernels, &rows, Groups::Stored));
            }
        }
    }
}

/// Values for which `group` is the largest group that is good enough: few of each are large, and of four groups only one has large ones. Quantizing
/// them anew in that group changes them by at most 0.58 %, in larger ones by at least 0.75 %; the bound of `coarse` is between the two.
fn uneven(n: usize, k: usize, group: usize, random: &mut Random) -> Rows {
    let values: Vec<f32> = (0..n * k)
        .map(|i| {
            let (at, within) = (i % k / group, i % k % group);
            // In another order: 37 is a unit of every group that is a power of two, and of 96 and 608.
            let size = ((within * 37 % group + 1) as f32 / group as f32).powi(6);
            let sign = if random.next() >> 63 == 0 { 1.0 } else { -1.0 };
            sign * size * if at % 4 == 1 { 1.0 } else { 0.1 }
        })
        .collect();
    let mut bytes = vec![0u8; n * Format::Q8_0.row_bytes(k).unwrap()];
    Format::Q8_0.quantize(&values, &mut bytes);
    Rows { format: Format::Q8_0, n, k, bytes: Bytes::from(bytes) }
}

#[test]
fn small_shapes_of_every_coarse_group() {
    let mut random = Random(2);
    // The last three are whole rows.
    let shapes = [(64, 128), (64, 192), (64, 320), (128, 256), (128, 384), (96, 96), (128, 128), (608, 608)];
    for (group, k) in shapes {
        for n in COLUMNS {
            let rows = uneven(n, k, group, &mut random);
            compare("coarse", &heights(), &mut random, |kernels| {
                let linear = biased(kernels, &rows, Groups::Coarse);
                assert_eq!(linear.group(), Some(group), "{kernels:?} {n} x {k}");
                linear
            });
        }
    }
}

/// Parts of several formats: groups of 16 with and without minima, and nibbles beside bytes.
#[test]
fn formats_one_below_the_other() {
    let mut random = Random(3);
    let mixtures = [
        (vec![Format::Q6K, Format::Q8_0], 16),
        (vec![Format::Q6K, Format::Q4K, Format::Q5_1], 16),
        (vec![Format::Q4_1, Format::Q4K], 32),
        (vec![Format::Q4_0, Format::Q4_1], 32),
    ];
    for (formats, group) in mixtures {
        for n in [1, 16, 21] {
            let rows: Vec<Rows> = formats.iter().map(|&format| quantized(format, n, 512, &mut random)).collect();
            compare(&format!("{formats:?}"), &heights(), &mut random, |kernels| {
                let linear = Linear::new(kernels, &rows, None).unwrap();
                assert_eq!(linear.group(), Some(group));
                linear
            });
        }
    }
}

#[test]
fn a_part_without_rows_adds_none() {
    let mut random = Random(6);
    for groups in [Groups::Stored, Groups::Coarse] {
        let rows = [0, 3, 0].map(|n| quantized(Format::Q8_0, n, 64, &mut random));
        let x = random.floats(2 * 64);
        let expected = product(scalar(), &rows[1..2], groups, &x, Epilogue::Store);
        assert_eq!(product(scalar(), &rows, groups, &x, Epilogue::Store), expected, "{groups:?}");
    }
}

/// `(n, k)` of the encoder of a width, with the vectors it makes: queries, keys and values; their way back; both of the MLP; the projection.
const fn encoder(width: usize, out: usize) -> [(usize, usize); 5] {
    [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width), (out, width)]
}

#[test]
fn every_shape_of_the_models() {
    let mut random = Random(4);
    // Pictures of ViT-B/32 and B/16, of ViT-L/14, and the texts of the former; the latter's texts are as wide as the former's pictures.
    let mut shapes: Vec<(usize, usize)> =
        [encoder(768, 512), encoder(1024, 768), encoder(512, 512), encoder(768, 768)].into_iter().flatten().collect();
    shapes.sort_unstable();
    shapes.dedup();
    for (n, k) in shapes {
        for format in [Format::Q8_0, Format::Q4_1] {
            let rows = quantized(format, n, k, &mut random);
            compare(&format.to_string(), &[1, 7], &mut random, |kernels| biased(kernels, &rows, Groups::Stored));
        }
        let rows = uneven(n, k, 128, &mut random);
        compare("coarse", &[5], &mut random, |kernels| biased(kernels, &rows, Groups::Coarse));
    }
    // Patches: 32, 16 and 14 pixels wide, in three colours.
    for (n, k) in [(768, 3 * 32 * 32), (768, 3 * 16 * 16), (1024, 3 * 14 * 14)] {
        let (values, bias) = (random.floats(n * k), random.floats(n));
        let pixels: Vec<u8> = (0..7 * k).map(|_| (random.next() >> 56) as u8).collect();
        let product = |kernels| {
            let mut linear = Linear::for_bytes(kernels, n, k, |row, out| out.copy_from_slice(&values[row * k..][..k]));
            linear.set_bias(&bias);
            let mut x = Activations::default();
            x.set_bytes(&linear, 7, |row, out| out.copy_from_slice(&pixels[row * k..][..k]), Threads::One);
            forward(&linear, &x, Epilogue::Store)
        };
        let expected = product(scalar());
        for kernels in others() {
            assert!(product(kernels) == expected, "{kernels:?}: patches of {k} values");
        }
    }
}

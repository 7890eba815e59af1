use edgeclip::{Clip, Embeddings, Groups, Options, Overlong};
use std::time::Instant;
fn cosines(a: &Embeddings, b: &Embeddings) -> (f64, f64) {
    let c: Vec<f64> = a
        .rows()
        .zip(b.rows())
        .map(|(a, b)| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        })
        .collect();
    (c.iter().copied().fold(1.0, f64::min), c.iter().sum::<f64>() / c.len() as f64)
}
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let load = |name: &str, groups| {
        Clip::load_with(format!("{dir}/{name}.gguf"), &Options { groups, ..Options::from_env().unwrap() }).unwrap()
    };
    let f = load("f32", Groups::Stored);
    let pictures: Vec<_> = std::fs::read_dir("models/demo/pictures")
        .unwrap()
        .chain(std::fs::read_dir("/work/shared/demo-pictures").unwrap())
        .filter_map(|e| {
            let p = e.unwrap().path();
            std::fs::read(p).ok().and_then(|b| f.preprocess(&b).ok())
        })
        .collect();
    let texts: Vec<String> = ["cat", "dog", "rocket", "red bicycle in the rain", "diagram of a neural network with many layers"]
        .iter()
        .flat_map(|l| {
            [format!("a photo of a {l}."), l.to_string(), format!("{} {l}", "a very long text about cats and dogs ".repeat(12))]
        })
        .collect();
    let tokens = f.tokenize_with(&texts, Overlong::Truncate).unwrap();
    println!("{} pictures", pictures.len());
    let pictures: Vec<_> = if std::env::var("FLOATS").is_ok() {
        pictures.iter().map(|p| edgeclip::Pixels::from_f32(p.size(), p.to_chw()).unwrap()).collect()
    } else {
        pictures
    };
    let (fi, ft) = (f.encode_image(&pictures).unwrap(), f.encode_text(&tokens).unwrap());
    let mut models = vec![("f32", f)];
    for (name, groups) in [("q8_0", Groups::Stored), ("q8_0", Groups::Coarse), ("q4_0", Groups::Stored)] {
        let t = Instant::now();
        let m = load(name, groups);
        let (i, t2) = (m.encode_image(&pictures).unwrap(), m.encode_text(&tokens).unwrap());
        println!("{name} {groups:?} image {:.7?} text {:.7?} first {:?}", cosines(&i, &fi), cosines(&t2, &ft), t.elapsed());
        models.push((name, m));
    }
    let one = &pictures[..1];
    let short = models[0].1.tokenize(&["a photo of a red cat"]).unwrap();
    let long = models[0].1.tokenize_with(&["a very long text about cats and dogs ".repeat(12)], Overlong::Truncate).unwrap();
    let batch: Vec<_> = (0..32).map(|i| pictures[i % pictures.len()].clone()).collect();
    let mut times = vec![vec![vec![]; 4]; models.len()];
    for round in 0..std::env::var("ROUNDS").map_or(12, |v| v.parse().unwrap()) {
        for (i, (_, m)) in models.iter().enumerate() {
            let mut time = |k: usize, n: usize, f: &dyn Fn()| {
                f();
                let t = Instant::now();
                for _ in 0..n {
                    f();
                }
                times[i][k].push(t.elapsed().as_secs_f64() * 1e3 / n as f64);
            };
            time(0, 3, &|| {
                m.encode_image(one).unwrap();
            });
            if round < 3 {
                time(1, 1, &|| {
                    m.encode_image(&batch).unwrap();
                });
            }
            time(2, 10, &|| {
                m.encode_text(&short).unwrap();
            });
            time(3, 3, &|| {
                m.encode_text(&long).unwrap();
            });
        }
    }
    for (i, (name, _)) in models.iter().enumerate() {
        if times[i][0].is_empty() {
            continue;
        }
        let med: Vec<String> = times[i]
            .iter_mut()
            .map(|v| {
                v.sort_by(f64::total_cmp);
                format!("{:.2} (min {:.2})", v[v.len() / 2], v[0])
            })
            .collect();
        println!("{name}: image {} ms, 32: {} ms total, text {} short, {} long", med[0], med[1], med[2], med[3]);
    }
}

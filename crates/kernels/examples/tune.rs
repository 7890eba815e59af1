//! Interim.
use bytes::Bytes;
use edgeclip_kernels::{Activation, Activations, Epilogue, Format, Kernels, Linear, Norm, Rows, Threads, attention::*};
use std::{arch::asm, arch::x86_64::*, hint::black_box};

fn cpu() -> f64 {
    let mut ts = [0i64; 2];
    unsafe {
        asm!("syscall", inlateout("rax") 228i64 => _, in("rdi") 3, in("rsi") ts.as_mut_ptr(), out("rcx") _, out("r11") _);
    }
    ts[0] as f64 + ts[1] as f64 * 1e-9
}
/// Best of many, in seconds of CPU.
fn time(mut f: impl FnMut()) -> f64 {
    f();
    let mut best = f64::MAX;
    let start = cpu();
    let mut n = 1;
    while cpu() - start < 0.15 {
        let t = cpu();
        for _ in 0..n {
            f();
        }
        let d = cpu() - t;
        if d < 1e-3 {
            n *= 2;
            continue;
        }
        best = best.min(d / n as f64);
    }
    best
}
#[target_feature(enable = "avx512f,avx512vnni")]
fn peak() -> i32 {
    let mut acc = [_mm512_setzero_si512(); 16];
    let x = _mm512_set1_epi32(black_box(3));
    for _ in 0..10000 {
        for a in &mut acc {
            *a = _mm512_dpbusd_epi32(*a, x, x);
        }
    }
    let mut s = acc[0];
    for a in &acc[1..] {
        s = _mm512_add_epi32(s, *a);
    }
    _mm512_reduce_add_epi32(s)
}
fn main() {
    let which = std::env::args().nth(1).unwrap_or_default();
    let only = std::env::args().nth(2).unwrap_or_default();
    let peak_s = time(|| {
        black_box(unsafe { peak() });
    });
    let peak = 10000.0 * 16.0 * 64.0 / peak_s / 1e9;
    println!("peak {peak:.1} GMAC/s");
    let kernels = Kernels::new(which.parse().unwrap_or(Kernels::best().isa())).unwrap();
    println!("{kernels:?}");
    for (m, n, k) in [
        (50, 2304, 768),
        (50, 768, 768),
        (50, 3072, 768),
        (50, 768, 3072),
        (9, 1536, 512),
        (9, 512, 512),
        (9, 2048, 512),
        (77, 1536, 512),
        (257, 3072, 1024),
        (400, 3072, 768),
        (400, 768, 3072),
    ] {
        let weights: Vec<f32> = (0..n * k).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 20_000.0).collect();
        let x: Vec<f32> = (0..m * k).map(|i| ((i * 104_729 % 1999) as f32 - 999.0) / 500.0).collect();
        for format in [Format::F32, Format::Q8_0, Format::Q6K, Format::Q4K, Format::Q4_0] {
            if !format.name().contains(&only) {
                continue;
            }
            for ordered in [true] {
                let mut bytes = vec![0u8; n * format.row_bytes(k).unwrap()];
                format.quantize(&weights, &mut bytes);
                let rows = [Rows { format, n, k, bytes: Bytes::from(bytes) }];
                let linear = Linear::grouped(
                    kernels,
                    &rows,
                    Some(vec![0.5; n]),
                    if std::env::var("COARSE").is_ok() {
                        edgeclip_kernels::Groups::Coarse
                    } else {
                        edgeclip_kernels::Groups::Stored
                    },
                )
                .unwrap();
                let (mut a, mut out) = (Activations::default(), vec![0f32; m * n + 16]);
                let off = if std::env::var("MISALIGN").is_ok() {
                    (out.as_ptr().align_offset(64) + 4) % 16
                } else {
                    out.as_ptr().align_offset(64)
                };
                let out = &mut out[off..off + m * n];
                let (gain, shift) = (vec![1.0; k], vec![0.0; k]);
                let t_set = time(|| {
                    a.set_layer_norm(&linear, black_box(&x), Norm { gain: &gain, shift: &shift, eps: 1e-5 }, Threads::One)
                });
                let t_plain = time(|| a.set(&linear, black_box(&x), Threads::One));
                let t = time(|| linear.forward(black_box(&a), Epilogue::Store, out, Threads::One));
                let t_add = time(|| linear.forward(black_box(&a), Epilogue::Add, out, Threads::One));
                let t_act = time(|| linear.forward(black_box(&a), Epilogue::Activate(Activation::QuickGelu), out, Threads::One));
                let macs = (m * n * k) as f64 / 1e9;
                println!(
                    "{m:4} x {n:4} x {k:4} {:5} {} {:7.1} us {:6.1} GMAC/s {:4.1} %   set {:5.1} norm {:5.1} us   add {:6.1} gelu {:6.1}",
                    format.name(),
                    if ordered { 'o' } else { ' ' },
                    t * 1e6,
                    macs / t,
                    macs / t / peak * 100.0,
                    t_plain * 1e6,
                    t_set * 1e6,
                    t_add * 1e6,
                    t_act * 1e6
                );
            }
        }
    }
    for (tokens, heads, causal) in [(50, 12, false), (257, 16, false), (9, 8, true), (77, 8, true)] {
        let width = heads * 64;
        let qkv: Vec<f32> = (0..tokens * 3 * width).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 1000.0).collect();
        let mut out = vec![0f32; tokens * width];
        let rows: Vec<u32> = (0..tokens as u32).collect();
        let part = |offset| Strided { values: &qkv, stride: 3 * width, offset };
        let t = time(|| {
            attention(
                kernels,
                Shape { width, heads, causal },
                Qkv { query: part(0), key: part(width), value: part(2 * width) },
                &rows,
                &[Sequence { queries: 0..tokens, keys: 0..tokens, first: 0 }],
                &mut out,
                Threads::One,
            )
        });
        println!(
            "attention {tokens} {heads} {causal}: {:.1} us, {:.1} GMAC/s",
            t * 1e6,
            (tokens * tokens * width * 2) as f64 / t / 1e9
        );
    }
}

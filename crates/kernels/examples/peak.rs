//! What this machine can do at most: multiply-adds from registers, and reads from each level of memory. Kernels are measured against it.
//!
//! `cargo xtask peak [--json]`. Every number is the best of many rounds; in a round all threads start together, and it ends with the last.

use std::{
    env,
    hint::black_box,
    process::ExitCode,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

/// Independent chains: the latency of a multiply-add, four or five cycles, times the two that the widest machines start in a cycle, fits.
const CHAINS: usize = 12;

/// How long a round is about, long beside the waking of a thread, and how often it is repeated.
const ROUND: Duration = Duration::from_millis(8);
const ROUNDS: usize = 30;

/// A loop of multiply-adds from registers.
pub(crate) struct Loop {
    pub(crate) name: &'static str,
    /// Multiply-adds of one turn of the loop.
    macs: usize,
    /// To be called only where the processor has the instructions: [`loops`] has looked.
    run: unsafe fn(usize),
}

/// What one thread reads again and again: too much for the level above the one in question, little enough for it.
struct Level {
    name: &'static str,
    bytes: fn(usize) -> usize,
}

const LEVELS: [Level; 3] = [
    // All threads together, but at least as much a thread as no cache holds for each of them.
    Level { name: "DRAM, 256 MB", bytes: |threads| ((256 << 20) / threads).max(32 << 20) },
    Level { name: "L3, 4 MB a thread", bytes: |_| 4 << 20 },
    Level { name: "L2, 512 KB a thread", bytes: |_| 512 << 10 },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let json = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--json"] => true,
        _ => {
            eprintln!("error: expected no argument or --json, found {}", arguments.join(" "));
            return ExitCode::from(2);
        }
    };
    let all = thread::available_parallelism().map_or(1, usize::from);
    let threads = if all > 1 { vec![1, all] } else { vec![1] };
    let clock = clock();
    let compute: Vec<(&str, Vec<f64>)> =
        loops().iter().map(|test| (test.name, threads.iter().map(|&n| multiply_adds(test, n)).collect())).collect();
    let reads: Vec<(&str, Vec<f64>)> =
        LEVELS.iter().map(|level| (level.name, threads.iter().map(|&n| bandwidth(level, n)).collect())).collect();
    if json {
        print!("{}", as_json(clock, &threads, &compute, &reads));
    } else {
        print!("{}", as_text(clock, &threads, &compute, &reads));
    }
    ExitCode::SUCCESS
}

fn as_text(clock: Option<f64>, threads: &[usize], compute: &[(&str, Vec<f64>)], reads: &[(&str, Vec<f64>)]) -> String {
    let mut text = match clock {
        Some(clock) => format!("{}, {:.2} GHz (one thread, measured)\n\n", env::consts::ARCH, clock / 1e9),
        None => format!("{}\n\n", env::consts::ARCH),
    };
    let head = |unit: &str| {
        let columns =
            threads.iter().map(|&n| format!("{:>12}", if n == 1 { "1 thread".to_owned() } else { format!("{n} threads") }));
        format!("{unit:<28}{}", columns.collect::<String>())
    };
    text += &head("GMAC/s");
    text += &format!("{}\n", if clock.is_some() { "   MAC/cycle (1 thread)" } else { "" });
    for (name, rates) in compute {
        let rates_shown: String = rates.iter().map(|rate| format!("{:>12.1}", rate / 1e9)).collect();
        let cycle = clock.map_or_else(String::new, |clock| format!("{:>12.1}", rates[0] / clock));
        text += &format!("{name:<28}{rates_shown}{cycle}\n");
    }
    text += &format!("\n{}\n", head("GB/s read"));
    for (name, rates) in reads {
        let rates: String = rates.iter().map(|rate| format!("{:>12.1}", rate / 1e9)).collect();
        text += &format!("{name:<28}{rates}\n");
    }
    text
}

/// The names are ours and need no escapes.
fn as_json(clock: Option<f64>, threads: &[usize], compute: &[(&str, Vec<f64>)], reads: &[(&str, Vec<f64>)]) -> String {
    let list = |unit: &str, rows: &[(&str, Vec<f64>)]| {
        let value = |(name, rates): &(&str, Vec<f64>)| {
            let each = threads.iter().zip(rates).map(|(n, rate)| format!("{{\"threads\": {n}, \"{unit}\": {:.3}}}", rate / 1e9));
            let cycle = match clock {
                Some(clock) if unit == "gmac_s" => format!("\"mac_cycle\": {:.2}, ", rates[0] / clock),
                _ => String::new(),
            };
            format!("    {{\"name\": \"{name}\", {cycle}\"rates\": [{}]}}", each.collect::<Vec<_>>().join(", "))
        };
        rows.iter().map(value).collect::<Vec<_>>().join(",\n")
    };
    format!(
        "{{\n  \"architecture\": \"{}\",\n  \"clock_ghz\": {},\n  \"compute\": [\n{}\n  ],\n  \"reads\": [\n{}\n  ]\n}}\n",
        env::consts::ARCH,
        clock.map_or_else(|| "null".to_owned(), |clock| format!("{:.3}", clock / 1e9)),
        list("gmac_s", compute),
        list("gb_s", reads)
    )
}

/// Multiply-adds in a second.
pub(crate) fn multiply_adds(test: &Loop, threads: usize) -> f64 {
    // SAFETY: the loop is in the list because the processor has its instructions.
    let run = |turns: usize| unsafe { (test.run)(turns) };
    let turns = calibrate(run);
    best(threads, (turns * test.macs) as f64, |_| run(turns))
}

/// Bytes in a second.
fn bandwidth(level: &Level, threads: usize) -> f64 {
    let words = (level.bytes)(threads) / size_of::<u64>();
    let passes = ((64 << 20) / (words * size_of::<u64>())).max(1);
    let buffers: Vec<Vec<u64>> = (0..threads).map(|i| vec![i as u64 + 1; words]).collect();
    let read = |thread: usize| {
        for _ in 0..passes {
            black_box(sum(black_box(&buffers[thread])));
        }
    };
    best(threads, (passes * words * size_of::<u64>()) as f64, read)
}

/// Turns of a loop that take about a [`ROUND`].
fn calibrate(run: impl Fn(usize)) -> usize {
    let mut turns = 1000;
    loop {
        let start = Instant::now();
        run(turns);
        let time = start.elapsed();
        if time > ROUND / 4 {
            return (turns as f64 * ROUND.as_secs_f64() / time.as_secs_f64()) as usize + 1;
        }
        turns *= 2;
    }
}

/// The best rate of all threads together, each of which does `work` in a round.
fn best(threads: usize, work: f64, run: impl Fn(usize) + Sync) -> f64 {
    let together = Barrier::new(threads);
    let spans: Vec<Vec<(Instant, Instant)>> = thread::scope(|scope| {
        let one = |i: usize| {
            let (run, together) = (&run, &together);
            scope.spawn(move || {
                run(i);
                let round = |_| {
                    together.wait();
                    let start = Instant::now();
                    run(i);
                    (start, Instant::now())
                };
                (0..ROUNDS).map(round).collect()
            })
        };
        let started: Vec<_> = (0..threads).map(one).collect();
        started.into_iter().map(|thread| thread.join().expect("a loop does not panic")).collect()
    });
    let rate = |round: usize| {
        let start = spans.iter().map(|spans| spans[round].0).min().expect("there are threads");
        let end = spans.iter().map(|spans| spans[round].1).max().expect("there are threads");
        work * threads as f64 / (end - start).as_secs_f64()
    };
    (0..ROUNDS).map(rate).fold(0.0, f64::max)
}

/// Cycles in a second, from additions that wait for each other, one a cycle; `None` where the compiler might make something else of them.
fn clock() -> Option<f64> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        const ADDITIONS: usize = 16;
        let run = |turns: usize| {
            // Of a register: some processors add small constants without taking the time for it.
            let (mut sum, step) = (0u64, black_box(3u64));
            for _ in 0..turns {
                for _ in 0..ADDITIONS {
                    sum = sum.wrapping_add(step);
                    // SAFETY: no instruction at all; the compiler only has to believe that the sum is another.
                    unsafe { std::arch::asm!("/* {} */", inout(reg) sum, options(pure, nomem, nostack, preserves_flags)) };
                }
            }
            black_box(sum);
        };
        let turns = calibrate(run);
        Some(best(1, (turns * ADDITIONS) as f64, |_| run(turns)))
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

/// The sum of a buffer, with the widest loads that are sure to pay.
fn sum(words: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { x86::sum(words) };
    }
    sum_plain(words)
}

#[inline(always)]
fn sum_plain(words: &[u64]) -> u64 {
    let (blocks, rest) = words.as_chunks::<32>();
    let mut sums = [0u64; 32];
    for block in blocks {
        for (sum, word) in sums.iter_mut().zip(block) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word))
}

/// The loops that this machine can run.
pub(crate) fn loops() -> Vec<Loop> {
    #[cfg(target_arch = "x86_64")]
    return match x86::loops() {
        none if none.is_empty() => vec![PLAIN],
        loops => loops,
    };
    #[cfg(target_arch = "aarch64")]
    return arm::loops();
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    vec![PLAIN]
}

#[cfg(not(target_arch = "aarch64"))]
const PLAIN: Loop = Loop { name: "f32, as compiled", macs: PLAIN_VALUES, run: plain };

/// Twelve vectors of four.
#[cfg(not(target_arch = "aarch64"))]
const PLAIN_VALUES: usize = 4 * CHAINS;

/// What the compiler makes of a multiply-add for any machine of this architecture. Without an instruction for it `mul_add` is a call.
#[cfg(not(target_arch = "aarch64"))]
fn plain(turns: usize) {
    let mut sums: [f32; PLAIN_VALUES] = black_box(std::array::from_fn(|i| i as f32));
    let (x, y) = (black_box(0.999f32), black_box(0.001f32));
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = if cfg!(target_arch = "x86_64") { *sum * x + y } else { sum.mul_add(x, y) };
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{
        arch::{asm, x86_64::*},
        array,
        hint::black_box,
    };

    use super::{CHAINS, Loop, sum_plain};

    #[target_feature(enable = "avx2")]
    pub(super) fn sum(words: &[u64]) -> u64 {
        sum_plain(words)
    }

    /// `sum[i] = step(sum[i], x)`, over and over. Sums begin apart and `x` seems to change, or the compiler would compute a part once.
    macro_rules! loop_of {
        ($name:ident, $features:literal, $register:ident, $set:ident($($as:ty)?), |$sum:ident, $x:ident| $step:expr) => {
            #[target_feature(enable = $features)]
            fn $name(turns: usize) {
                let mut sums: [_; CHAINS] = black_box(array::from_fn(|i| $set(i as i32 $(as $as)?)));
                let mut $x = black_box($set(1 $(as $as)?));
                for _ in 0..turns {
                    for sum in &mut sums {
                        // SAFETY: no instruction at all.
                        unsafe { asm!("/* {} */", inout($register) $x, options(pure, nomem, nostack, preserves_flags)) };
                        let $sum = *sum;
                        *sum = $step;
                    }
                }
                black_box(sums);
            }
        };
    }

    loop_of!(fma_256, "avx2,fma", ymm_reg, _mm256_set1_ps(f32), |sum, x| _mm256_fmadd_ps(x, x, sum));
    loop_of!(fma_512, "avx512f", zmm_reg, _mm512_set1_ps(f32), |sum, x| _mm512_fmadd_ps(x, x, sum));
    loop_of!(bytes_256, "avx2", ymm_reg, _mm256_set1_epi32(), |sum, x| {
        _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, x), _mm256_set1_epi16(1)))
    });
    loop_of!(words_256, "avx2", ymm_reg, _mm256_set1_epi32(), |sum, x| _mm256_add_epi32(sum, _mm256_madd_epi16(x, x)));
    loop_of!(dpbusd_vex, "avx2,avxvnni", ymm_reg, _mm256_set1_epi32(), |sum, x| _mm256_dpbusd_avx_epi32(sum, x, x));
    loop_of!(dpbusd_256, "avx512vnni,avx512vl", ymm_reg, _mm256_set1_epi32(), |sum, x| _mm256_dpbusd_epi32(sum, x, x));
    loop_of!(dpbusd_512, "avx512f,avx512vnni", zmm_reg, _mm512_set1_epi32(), |sum, x| _mm512_dpbusd_epi32(sum, x, x));

    pub(super) fn loops() -> Vec<Loop> {
        let avx2 = is_x86_feature_detected!("avx2");
        let avx512 = is_x86_feature_detected!("avx512f");
        let vnni = avx512 && is_x86_feature_detected!("avx512vnni");
        /// Whether the machine has it, what it is called, multiply-adds of an instruction.
        type Listed = (bool, &'static str, usize, unsafe fn(usize));
        let all: [Listed; 7] = [
            (avx2 && is_x86_feature_detected!("fma"), "f32 FMA, 256 bits", 8, fma_256),
            (avx512, "f32 FMA, 512 bits", 16, fma_512),
            (avx2, "bytes, maddubs + madd + add", 32, bytes_256),
            (avx2, "words, madd + add", 16, words_256),
            (avx2 && is_x86_feature_detected!("avxvnni"), "vpdpbusd, 256 bits, VEX", 32, dpbusd_vex),
            (vnni && is_x86_feature_detected!("avx512vl"), "vpdpbusd, 256 bits", 32, dpbusd_256),
            (vnni, "vpdpbusd, 512 bits", 64, dpbusd_512),
        ];
        let there = all.into_iter().filter(|(there, ..)| *there);
        there.map(|(_, name, macs, run)| Loop { name, macs: macs * CHAINS, run }).collect()
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::{
        arch::{aarch64::*, asm, is_aarch64_feature_detected},
        hint::black_box,
    };

    use super::{CHAINS, Loop};

    /// `sum[i] = instructions(sum[i], x)`, over and over; dot products have no stable intrinsics.
    macro_rules! loop_of {
        ($name:ident, $features:literal, $($instruction:literal),*) => {
            #[target_feature(enable = $features)]
            fn $name(turns: usize) {
                let mut sums = black_box([vdupq_n_s32(1); CHAINS]);
                let x = black_box(vdupq_n_s32(1));
                for _ in 0..turns {
                    for sum in &mut sums {
                        // SAFETY: of registers only, of which `product` is written before it is read; the caller has looked for the features.
                        unsafe {
                            asm!(
                                $($instruction,)*
                                "/* {product} */",
                                sum = inout(vreg) *sum, x = in(vreg) x, product = out(vreg) _,
                                options(pure, nomem, nostack, preserves_flags)
                            );
                        }
                    }
                }
                black_box(sums);
            }
        };
    }

    loop_of!(fma, "neon", "fmla {sum:v}.4s, {x:v}.4s, {x:v}.4s");
    loop_of!(bytes, "neon", "smull {product:v}.8h, {x:v}.8b, {x:v}.8b", "sadalp {sum:v}.4s, {product:v}.8h");
    loop_of!(sdot, "neon,dotprod", "sdot {sum:v}.4s, {x:v}.16b, {x:v}.16b");
    loop_of!(smmla, "neon,i8mm", "smmla {sum:v}.4s, {x:v}.16b, {x:v}.16b");

    pub(super) fn loops() -> Vec<Loop> {
        /// Whether the machine has it, what it is called, multiply-adds of it.
        type Listed = (bool, &'static str, usize, unsafe fn(usize));
        let all: [Listed; 4] = [
            (true, "f32 FMA, 128 bits", 4, fma),
            (true, "bytes, smull + sadalp", 8, bytes),
            (is_aarch64_feature_detected!("dotprod"), "sdot, 128 bits", 16, sdot),
            (is_aarch64_feature_detected!("i8mm"), "smmla, 128 bits", 32, smmla),
        ];
        let there = all.into_iter().filter(|(there, ..)| *there);
        there.map(|(_, name, macs, run)| Loop { name, macs: macs * CHAINS, run }).collect()
    }
}

//! `edgeclip bench`: how fast a model is on this machine.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use edgeclip::{Clip, Observer, Overlong, Phase, PictureOptions, Pixels, Stage, TokenBatch, Tokenizer, Tower};
use serde_json::{Value, json};

use crate::{
    console::Console,
    inputs::Input,
    interrupt,
    machine::{Machine, peak_memory},
    model::{Model, ModelArgs},
    output::{
        sink::Sink,
        table::{Align, bytes, table},
    },
    pictures::ReadArgs,
};

/// Measure how fast a model is on this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip bench --model b32-q8_0.gguf
  edgeclip bench photo.jpg --model b32-q8_0.gguf --threads 1     # and how long the photo takes to read and resize
  edgeclip bench --profile --model b32-q8_0.gguf                 # where the time goes

To report numbers, in an issue say, paste all of what this prints: it names the machine, the model and the kernels.
Every time is the median of the rounds that fit, after one that is not counted, with the fastest and the slowest.")]
pub(crate) struct BenchArgs {
    /// Picture to measure preprocessing with [default: a synthetic one of the model's size, and no preprocessing]
    #[arg(value_name = "PICTURE")]
    picture: Option<PathBuf>,
    /// Time to measure for, in all; everything is run twice at least
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// Show the time of one picture and of one text by phase instead
    #[arg(long)]
    profile: bool,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    model: ModelArgs,
}

/// Longer than anybody waits; it keeps the sum of durations from overflowing.
const MAX_SECONDS: f64 = 86_400.0;

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= MAX_SECONDS => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("expected seconds, more than 0 and at most {MAX_SECONDS}")),
    }
}

/// Inputs of a call.
const PICTURES: [usize; 3] = [1, 8, 32];
const TEXTS: [usize; 2] = [1, 32];

const SHORT: &str = "a photo of a cat";
/// Of any model's context.
const LONG: &str = "a very long text about cats and dogs ";

/// Runs the command.
pub(crate) fn run(args: BenchArgs, console: &Console) -> Result<()> {
    interrupt::watch();
    let start = Instant::now();
    let model = args.model.load(console)?;
    let open = start.elapsed();
    let bench = Bench { clip: &model.clip, options: args.read.options(), seconds: args.seconds };
    let picture = match &args.picture {
        Some(path) => {
            model.require(Tower::Image)?;
            let input = Input::file(path.to_string_lossy(), path);
            Some(input.read().with_context(|| input.label.clone())?)
        }
        None => None,
    };
    let inputs = Inputs::new(&model.clip, picture.as_deref(), &bench.options)
        .with_context(|| args.picture.as_deref().unwrap_or(model.clip.path()).display().to_string())?;
    let (text, mut json) = match args.profile {
        true => bench.profiles(&inputs)?,
        false => bench.times(&inputs, picture.as_deref(), open)?,
    };
    let head = head(&model, args.picture.as_deref())?;
    let mut sink = Sink::open(None)?;
    if args.json {
        for (key, value) in head.1 {
            json[key] = value;
        }
        args.read.note(&mut json);
        sink.write_json(&json)?;
    } else {
        sink.write_all(format!("{}\n{text}", head.0).as_bytes())?;
    }
    sink.commit()
}

/// What was measured, for people and for programs.
fn head(model: &Model, picture: Option<&Path>) -> Result<(String, Vec<(&'static str, Value)>)> {
    let (clip, threads) = (&model.clip, rayon::current_num_threads());
    let size = clip.file().file_bytes();
    let peak = peak_memory();
    let picture = picture.map(|path| path.to_string_lossy());
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let machine = Machine::here();
    let mut rows = vec![
        row("edgeclip", env!("CARGO_PKG_VERSION").to_owned()),
        row("machine", machine.line()),
        row("features", machine.has(true).join(" ")),
        row("model", format!("{}, {}, {}", model.origin.name, model.origin.ty, bytes(size))),
        row("computed with", format!("{}, {threads} threads", clip.isa().name())),
    ];
    if clip.config().image.is_some() {
        let synthetic = || "synthetic: give one as an argument to measure its preprocessing too".to_owned();
        rows.push(row("picture", picture.as_ref().map_or_else(synthetic, ToString::to_string)));
    }
    if let Some(peak) = peak {
        rows.push(row("memory at most", bytes(peak)));
    }
    let json = vec![
        ("file", json!(clip.path().to_string_lossy())),
        ("model", serde_json::to_value(&model.origin)?),
        ("file_bytes", json!(size)),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("machine", json!(machine.line())),
        ("features", json!(machine.has(true))),
        ("isa", json!(clip.isa().name())),
        ("threads", json!(threads)),
        ("picture", json!(picture)),
        ("peak_memory_bytes", json!(peak)),
    ];
    Ok((table(&[Align::Left, Align::Left], &rows), json))
}

/// What the encoders that the file has are given.
struct Inputs {
    picture: Option<Pixels>,
    /// A name and one row of ids; none without a text encoder.
    texts: Vec<(&'static str, TokenBatch)>,
}

impl Inputs {
    fn new(clip: &Clip, picture: Option<&[u8]>, options: &PictureOptions) -> Result<Self> {
        let config = clip.config();
        let picture = match (&config.image, picture) {
            (None, _) => None,
            (Some(_), Some(bytes)) => Some(clip.preprocess_with(bytes, options)?),
            (Some(image), None) => {
                let spec = &image.preprocessing;
                let values = 3 * spec.size as usize * spec.size as usize;
                // Something of everything; what it shows makes no difference.
                let crop = (0..values).map(|i| (i * 7 % 251) as u8).collect();
                Some(Pixels::from_crop(spec.size, crop, spec.mean, spec.std)?)
            }
        };
        let mut texts = Vec::new();
        if let Some(text) = &config.text {
            let long = LONG.repeat(text.vocabulary.context_length.div_ceil(2));
            for (name, text) in [("short", SHORT), ("full", &long)] {
                texts.push((name, clip.tokenize_with(&[text], Overlong::Truncate)?));
            }
        }
        Ok(Self { picture, texts })
    }
}

/// Times of one thing, in seconds, sorted.
struct Times(Vec<f64>);

impl Times {
    fn new(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    /// The lower one of the two in the middle.
    fn median(&self) -> f64 {
        self.0[(self.0.len() - 1) / 2]
    }

    /// `n` inputs in a call of these times.
    fn json(&self, what: &str, n: usize) -> Value {
        let each = |time: f64| time * 1e3 / n as f64;
        json!({
            "what": what, "batch": n, "rounds": self.0.len(), "ms": each(self.median()), "per_second": n as f64 / self.median(),
            "min_ms": each(self.0[0]), "max_ms": each(self.0[self.0.len() - 1]),
        })
    }
}

struct Bench<'a> {
    clip: &'a Clip,
    options: PictureOptions,
    seconds: Duration,
}

type Shown = (String, Value);

impl Bench<'_> {
    /// Runs it once without a look at the clock, then until its share of the time is over, twice at least.
    fn rounds<T>(&self, shares: usize, mut round: impl FnMut() -> Result<T>) -> Result<Vec<(f64, T)>> {
        let share = self.seconds / u32::try_from(shares)?;
        round()?;
        let (begin, mut done) = (Instant::now(), Vec::new());
        while done.len() < 2 || begin.elapsed() < share {
            interrupt::check()?;
            let start = Instant::now();
            let result = round()?;
            done.push((start.elapsed().as_secs_f64(), result));
        }
        Ok(done)
    }

    fn times(&self, inputs: &Inputs, picture: Option<&[u8]>, open: Duration) -> Result<Shown> {
        let load = self.load(inputs, open)?;
        // Repeated texts would be computed once, so each is a little different.
        let texts: Vec<(String, TokenBatch)> = inputs
            .texts
            .iter()
            .flat_map(|(name, tokens)| {
                TEXTS.map(|n| (format!("text, {name}, {} tokens", tokens.row(0).len()), several(tokens, n)))
            })
            .collect();
        let pictures = inputs.picture.as_ref().map_or(&[][..], |_| &PICTURES);
        let shares = pictures.len() + texts.len() + usize::from(picture.is_some());
        let mut measured: Vec<(String, usize, Times)> = Vec::new();
        let mut measure = |what: &str, n: usize, round: &mut dyn FnMut() -> Result<()>| -> Result<()> {
            let times = self.rounds(shares, round)?.into_iter().map(|(time, ())| time).collect();
            measured.push((what.to_owned(), n, Times::new(times)));
            Ok(())
        };
        if let Some(bytes) = picture {
            measure("preprocessing", 1, &mut || Ok(self.clip.preprocess_with(bytes, &self.options).map(drop)?))?;
        }
        for &n in pictures {
            let batch = vec![inputs.picture.clone().context("there is no picture")?; n];
            measure("picture", n, &mut || Ok(self.clip.encode_image(&batch).map(drop)?))?;
        }
        for (what, batch) in &texts {
            measure(what, batch.len(), &mut || Ok(self.clip.encode_text(batch).map(drop)?))?;
        }

        let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let mut rows = vec![cells(&["load", "", "ms"])];
        rows.extend(load.iter().map(|(what, time)| cells(&[what, "", &format!("{:.2}", time * 1e3)])));
        rows.push(cells(&[""]));
        rows.push(cells(&["encode", "batch", "ms each", "min", "max", "each second", "rounds"]));
        for (what, n, times) in &measured {
            let value = times.json(what, *n);
            let number = |key: &str, digits: usize| format!("{:.digits$}", value[key].as_f64().unwrap_or(f64::NAN));
            let (ms, min, max) = (number("ms", 3), number("min_ms", 3), number("max_ms", 3));
            rows.push(cells(&[what, &n.to_string(), &ms, &min, &max, &number("per_second", 1), &times.0.len().to_string()]));
        }
        let load: serde_json::Map<String, Value> =
            load.iter().map(|(what, time)| ((*what).to_owned(), json!(time * 1e3))).collect();
        let encode: Vec<Value> = measured.iter().map(|(what, n, times)| times.json(what, *n)).collect();
        Ok((table(&[Align::Left], &rows), json!({"load_ms": load, "encode": encode})))
    }

    /// What is done once, in seconds.
    fn load(&self, inputs: &Inputs, open: Duration) -> Result<Vec<(&'static str, f64)>> {
        let mut load = vec![("open", open.as_secs_f64())];
        let time = |pack: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
            let start = Instant::now();
            pack()?;
            Ok(start.elapsed().as_secs_f64())
        };
        // The first call packs, and computes one input beside it; that is left out again.
        if let Some(picture) = &inputs.picture {
            let mut encode = || Ok(self.clip.encode_image(std::slice::from_ref(picture)).map(drop)?);
            load.push(("image encoder", (time(&mut encode)? - time(&mut encode)?).max(0.0)));
        }
        if let Some((_, tokens)) = inputs.texts.first() {
            let mut encode = || Ok(self.clip.encode_text(tokens).map(drop)?);
            load.push(("text encoder", (time(&mut encode)? - time(&mut encode)?).max(0.0)));
            let vocabulary = self.clip.tokenizer()?.vocabulary().clone();
            load.push(("tokenizer", time(&mut || Ok(Tokenizer::new(vocabulary.clone()).map(drop)?))?));
        }
        Ok(load)
    }

    fn profiles(&self, inputs: &Inputs) -> Result<Shown> {
        let shares = usize::from(inputs.picture.is_some()) + inputs.texts.len();
        let mut profiles: Vec<(String, Profile)> = Vec::new();
        if let Some(picture) = &inputs.picture {
            let one = std::slice::from_ref(picture);
            let profile = self.profile(shares, |clock| Ok(self.clip.encode_image_observed(one, clock).map(drop)?))?;
            profiles.push(("picture".to_owned(), profile));
        }
        for (name, tokens) in &inputs.texts {
            let profile = self.profile(shares, |clock| Ok(self.clip.encode_text_observed(tokens, clock).map(drop)?))?;
            profiles.push((format!("text, {name}, {} tokens", tokens.row(0).len()), profile));
        }
        let text = profiles.iter().map(|(what, profile)| profile.text(what)).collect::<Vec<_>>().join("\n");
        let json: Vec<Value> = profiles.iter().map(|(what, profile)| profile.json(what)).collect();
        Ok((text, json!({"profiles": json})))
    }

    fn profile(&self, shares: usize, mut encode: impl FnMut(&mut Clock) -> Result<()>) -> Result<Profile> {
        let rounds = self.rounds(shares, || {
            let mut clock = Clock::start();
            encode(&mut clock)?;
            Ok(clock.stop())
        })?;
        // Medians of phases would be of different runs and would not sum up: one run is shown, that of the median.
        let mut runs: Vec<[f64; PHASES]> = rounds.into_iter().map(|(_, phases)| phases).collect();
        let whole = |phases: &[f64; PHASES]| phases.iter().sum::<f64>();
        runs.sort_by(|a, b| whole(a).total_cmp(&whole(b)));
        Ok(Profile { phases: runs[(runs.len() - 1) / 2], rounds: runs.len() })
    }
}

/// The same row `n` times with another token behind the first each time, as far as there are ids.
fn several(tokens: &TokenBatch, n: usize) -> TokenBatch {
    TokenBatch::from_rows((0..n).map(|i| {
        let mut row = tokens.row(0).to_vec();
        if row.len() > 2 {
            row[1] = row[1].saturating_sub(i as u32);
        }
        row
    }))
}

const PHASES: usize = Phase::ALL.len();

/// Gives the time between two calls to the phase that the first one began.
struct Clock {
    phases: [f64; PHASES],
    current: Phase,
    since: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { phases: [0.0; PHASES], current: Phase::Embedding, since: Instant::now() }
    }

    fn stop(mut self) -> [f64; PHASES] {
        self.phase(self.current);
        self.phases
    }
}

impl Observer for Clock {
    fn stage(&mut self, _: Stage, _: usize, _: &[f32]) {}

    fn phase(&mut self, phase: Phase) {
        let now = Instant::now();
        if let Some(place) = Phase::ALL.iter().position(|known| *known == self.current) {
            self.phases[place] += (now - self.since).as_secs_f64();
        }
        (self.current, self.since) = (phase, now);
    }

    /// Values are not looked at, so the passes are those of any other call.
    fn is_watching(&self) -> bool {
        false
    }
}

/// Where the time of one run went.
struct Profile {
    /// Seconds, in the order of [`Phase::ALL`].
    phases: [f64; PHASES],
    rounds: usize,
}

impl Profile {
    fn whole(&self) -> f64 {
        self.phases.iter().sum()
    }

    fn text(&self, what: &str) -> String {
        let row =
            |name: String, time: f64| vec![name, format!("{:.3}", time * 1e3), format!("{:.1}", time / self.whole() * 100.0)];
        let mut rows = vec![vec![what.to_owned(), "ms".to_owned(), "%".to_owned()]];
        rows.extend(Phase::ALL.iter().zip(self.phases).map(|(phase, time)| row(phase.to_string(), time)));
        rows.push(row("whole".to_owned(), self.whole()));
        table(&[Align::Left], &rows)
    }

    fn json(&self, what: &str) -> Value {
        let phases: serde_json::Map<String, Value> =
            Phase::ALL.iter().zip(self.phases).map(|(phase, time)| (phase.to_string(), json!(time * 1e3))).collect();
        json!({"what": what, "rounds": self.rounds, "phases_ms": phases, "whole_ms": self.whole() * 1e3})
    }
}

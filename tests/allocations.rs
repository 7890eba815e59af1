//! Once buffers have grown, encoding allocates its result and nothing else. One test, as allocations are counted for the whole process.

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use edgeclip::{Embeddings, Pixels};
use edgeclip_convert::Target;
use support::{Golden, Model};

/// The system's allocator, with a count of what is asked of it.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    BYTES.fetch_add(bytes, Relaxed);
}

// SAFETY: everything is the system's allocator's work; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of a call and their bytes: the fewest of several, as which thread takes which pass, and thus how large its buffers have to
/// be, is known after a few calls only.
fn allocations(call: impl Fn() -> Embeddings) -> (usize, usize) {
    let counted = |_| {
        let before = (ALLOCATIONS.load(Relaxed), BYTES.load(Relaxed));
        let vectors = call();
        let after = (ALLOCATIONS.load(Relaxed) - before.0, BYTES.load(Relaxed) - before.1);
        drop(vectors);
        after
    };
    call();
    (0..6).map(counted).min().expect("calls")
}

#[test]
fn only_the_result_is_allocated() {
    let golden = Golden::new("demo");
    let mut wrong = Vec::new();
    for target in [Target::Q8_0, Target::Q4_0, Target::F32] {
        let model = Model::new("demo", target);
        let clip = &model.clip;
        let dim = clip.embedding_dim();
        let mut pixels = golden.pixels(clip);
        pixels.truncate(5);
        // The same as numbers, which take another way through the patch embedding.
        let values = |pixels: &Pixels| Pixels::from_f32(pixels.size(), pixels.to_chw()).unwrap();
        let values: Vec<_> = pixels.iter().take(2).map(values).collect();
        let (one, all) = (clip.tokenize(&golden.texts[..1]).unwrap(), golden.tokens(clip));
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            // Counted inside: to enter a pool allocates.
            pool.install(|| {
                let mut check = |name: &str, n: usize, call: &dyn Fn() -> Embeddings| {
                    let found = allocations(call);
                    if found != (1, n * dim * size_of::<f32>()) {
                        wrong.push(format!("{target}, {threads} threads, {name}: {} allocations of {} bytes", found.0, found.1));
                    }
                };
                check("one picture", 1, &|| clip.encode_image(&pixels[..1]).unwrap());
                check("five pictures", 5, &|| clip.encode_image(&pixels).unwrap());
                check("two pictures of f32", 2, &|| clip.encode_image(&values).unwrap());
                check("one text", 1, &|| clip.encode_text(&one).unwrap());
                check("all texts", all.len(), &|| clip.encode_text(&all).unwrap());
            });
        }
    }
    assert!(wrong.is_empty(), "expected one allocation of the result:\n{}", wrong.join("\n"));
}

//! What machine this is, for people who compare numbers.

use std::{env, fs, thread};

use crate::output::table::bytes;

/// What the system says of the machine; what it does not say is left out.
pub(crate) struct Machine {
    /// Board or computer, such as "Raspberry Pi 5 Model B Rev 1.0".
    pub(crate) board: Option<String>,
    /// What the processor calls itself.
    pub(crate) processor: String,
    /// How many threads can run at once.
    pub(crate) cores: usize,
    /// Features that kernels are written for, and some beside them that tell machines apart.
    pub(crate) features: Vec<(&'static str, bool)>,
    /// Of the whole machine, in bytes.
    memory: Option<u64>,
    /// Of memory, in KiB.
    page: Option<u64>,
    /// How fast the first core runs now, how fast it may, in MHz, and who decides.
    clock: Option<(u64, u64, String)>,
    kernel: Option<String>,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim_matches(['\0', '\n', ' ']).to_owned());
        let info = read("/proc/cpuinfo").unwrap_or_default();
        let clock = |name: &str| read(&format!("/sys/devices/system/cpu/cpu0/cpufreq/{name}"));
        let mhz = |name: &str| Some(clock(name)?.parse::<u64>().ok()? / 1000);
        Self {
            board: read("/proc/device-tree/model").or_else(|| field(&info, "Model").map(str::to_owned)),
            processor: processor(&info),
            cores: thread::available_parallelism().map_or(1, usize::from),
            features: features(),
            memory: read("/proc/meminfo").and_then(|text| kilobytes(field(&text, "MemTotal")?)?.checked_mul(1024)),
            page: read("/proc/self/smaps").and_then(|text| kilobytes(field(&text, "KernelPageSize")?)),
            clock: mhz("scaling_cur_freq")
                .zip(mhz("cpuinfo_max_freq"))
                .zip(clock("scaling_governor"))
                .map(|((now, most), who)| (now, most, who)),
            kernel: read("/proc/sys/kernel/osrelease"),
        }
    }

    /// The names of features that are there, or that are not.
    pub(crate) fn has(&self, yes: bool) -> Vec<&'static str> {
        self.features.iter().filter(|(_, there)| *there == yes).map(|(name, _)| *name).collect()
    }

    /// In a line, what a measurement depends on.
    pub(crate) fn line(&self) -> String {
        let mut parts: Vec<String> = self.board.iter().cloned().collect();
        parts.push(format!("{} x {}, {}", self.cores, self.processor, env::consts::ARCH));
        parts.extend(self.memory.map(|memory| format!("{} of memory", bytes(memory))));
        parts.extend(self.clock.as_ref().map(|(now, most, who)| format!("{now} of {most} MHz ({who})")));
        parts.extend(self.page.map(|page| format!("pages of {page} KiB")));
        parts.extend(self.kernel.as_ref().map(|kernel| format!("{} {kernel}", env::consts::OS)));
        parts.join(", ")
    }
}

/// The most memory that this process has had, in bytes, where the system says so.
pub(crate) fn peak_memory() -> Option<u64> {
    kilobytes(field(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM")?)?.checked_mul(1024)
}

/// The first value of a key in "key : value" lines.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| Some(line.strip_prefix(key)?.trim_start().strip_prefix(':')?.trim()))
        .filter(|value| !value.is_empty())
}

fn kilobytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim().parse().ok()
}

/// x86's name of itself; of ARM's, who made the core and which it is.
fn processor(info: &str) -> String {
    if let Some(name) = field(info, "model name") {
        return name.to_owned();
    }
    match (field(info, "CPU implementer"), field(info, "CPU part")) {
        (Some("0x41"), Some(part)) => {
            // Main ID Register, of the technical reference manuals of these cores.
            let known = [
                ("0xd03", "Cortex-A53"),
                ("0xd05", "Cortex-A55"),
                ("0xd08", "Cortex-A72"),
                ("0xd0b", "Cortex-A76"),
                ("0xd0c", "Neoverse N1"),
                ("0xd40", "Neoverse V1"),
                ("0xd49", "Neoverse N2"),
                ("0xd4f", "Neoverse V2"),
            ];
            known.iter().find(|(id, _)| *id == part).map_or_else(|| format!("ARM core {part}"), |(_, name)| (*name).to_owned())
        }
        (Some(maker), Some(part)) => format!("core {part} of maker {maker}"),
        _ => "unknown processor".to_owned(),
    }
}

fn features() -> Vec<(&'static str, bool)> {
    #[cfg(target_arch = "x86_64")]
    macro_rules! detect { ($($name:tt)*) => { vec![$(($name, is_x86_feature_detected!($name))),*] }; }
    #[cfg(target_arch = "x86_64")]
    return detect!("sse4.2" "avx" "avx2" "fma" "f16c" "avxvnni" "avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512vnni" "avx512bf16");
    #[cfg(target_arch = "aarch64")]
    macro_rules! detect { ($($name:tt)*) => { vec![$(($name, std::arch::is_aarch64_feature_detected!($name))),*] }; }
    #[cfg(target_arch = "aarch64")]
    return detect!("neon" "dotprod" "i8mm" "bf16" "sve");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return Vec::new();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_named() {
        // As Linux prints them on an EPYC, a Raspberry Pi 5, and a core that is in no list here.
        assert_eq!(processor("processor\t: 0\nmodel name\t: AMD EPYC\n"), "AMD EPYC");
        assert_eq!(processor("CPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0b\n"), "Cortex-A76");
        assert_eq!(processor("CPU implementer\t: 0x41\nCPU part\t: 0xd99\n"), "ARM core 0xd99");
        assert_eq!(processor("CPU implementer\t: 0x61\nCPU part\t: 0x022\n"), "core 0x022 of maker 0x61");
        assert_eq!(processor(""), "unknown processor");
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(field("MemTotal:        8245440 kB\n", "MemTotal").and_then(kilobytes), Some(8_245_440));
        assert_eq!(field("KernelPageSize:       16 kB\n", "KernelPageSize").and_then(kilobytes), Some(16));
        assert_eq!(field("Modelled: x\n", "Model"), None);
    }
}

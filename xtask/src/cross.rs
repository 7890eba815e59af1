//! Debian's compilers for ARM on an x86-64 machine, and qemu, which runs what they make. rustup need not have the target.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, cargo, output, run, target};

pub(crate) const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Debian's Rust, which has a standard library for ARM beside it.
const RUSTC: &str = "/usr/bin/rustc";
const QEMU: &str = "/usr/bin/qemu-aarch64-static";

/// What has to be there and the package of it. ARM's C library comes with the standard library that needs it. qemu must use that one and not the copy that
/// `-L /usr/aarch64-linux-gnu` would give it: two of different versions do not start a thread.
const PARTS: [(&str, &str); 5] = [
    (RUSTC, "rustc-web"),
    ("/usr/lib/rustlib/aarch64-unknown-linux-gnu", "libstd-rust-web-dev:arm64"),
    ("/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("/usr/aarch64-linux-gnu/include/stdlib.h", "libc6-dev-arm64-cross"),
    (QEMU, "qemu-user-static"),
];

/// A machine on which everything is there.
pub(crate) struct Cross(());

impl Cross {
    /// Installs what is missing, and says so first.
    ///
    /// # Errors
    /// If this is no Debian or Ubuntu on x86-64, or apt-get fails.
    pub(crate) fn new() -> Result<Self, Error> {
        let missing = || PARTS.iter().filter(|(path, _)| !Path::new(path).exists()).map(|(_, package)| *package).collect();
        let packages: Vec<&str> = missing();
        if packages.is_empty() {
            return Ok(Self(()));
        }
        let what = packages.join(" ");
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) || !Path::new("/usr/bin/apt-get").exists() {
            return Err(Error::Refused(format!("building for ARM needs x86-64 Debian 12 or later, and {what} installed there")));
        }
        println!("installing for ARM: {what} (about 1.4 GB)");
        let apt = |arguments: &[&str]| run(root_command("apt-get").args(["-qq", "-o=Dpkg::Use-Pty=0"]).args(arguments));
        if !output(Command::new("dpkg").arg("--print-foreign-architectures"))?.lines().any(|line| line == "arm64") {
            run(root_command("dpkg").args(["--add-architecture", "arm64"]))?;
        }
        apt(&["update"])?;
        apt(&[&["install", "--yes", "--no-install-recommends"], &packages[..]].concat())?;
        let still: Vec<&str> = missing();
        match still.as_slice() {
            [] => Ok(Self(())),
            still => Err(Error::Refused(format!("{} are installed, but not where they are expected", still.join(" ")))),
        }
    }

    /// Cargo, which builds for ARM into a folder of its own and runs what it built with qemu as `cpu` (`max`: everything that there is).
    pub(crate) fn cargo(&self, cpu: &str) -> Command {
        let mut cargo = cargo();
        // Compiling takes longer than all that is run: less of it for what is others', and nothing for a debugger.
        cargo.args(["--config", r#"profile.dev.package."*".opt-level=1"#]);
        cargo
            .env("CARGO_PROFILE_DEV_DEBUG", "none")
            .env("RUSTC", RUSTC)
            .env("RUSTDOC", "/usr/bin/rustdoc")
            .env("CARGO_BUILD_TARGET", TARGET)
            .env("CARGO_TARGET_DIR", self.target())
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
            .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc")
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", QEMU)
            .env("QEMU_CPU", cpu)
            // Of the toolchain that started this program.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("RUSTC_WRAPPER");
        cargo
    }

    /// A program for ARM, run by qemu as `cpu`.
    pub(crate) fn run(&self, cpu: &str, program: &Path) -> Command {
        let mut qemu = Command::new(QEMU);
        qemu.arg(program).env("QEMU_CPU", cpu);
        qemu
    }

    /// Cargo's folder for ARM.
    pub(crate) fn target(&self) -> PathBuf {
        target().join("aarch64")
    }
}

/// A command that needs the rights of root.
fn root_command(program: &str) -> Command {
    let mut command = match output(Command::new("id").arg("-u")) {
        Ok(user) if user.trim() == "0" => Command::new(program),
        _ => {
            let mut sudo = Command::new("sudo");
            sudo.arg(program);
            sudo
        }
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

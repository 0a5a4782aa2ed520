//! Man pages and shell completions, from the command tree that the help is made of.

use clap::builder::EnumValueParser;
use clap::{Arg, Command, ValueEnum};
use clap_complete::Shell;

/// The long name of the option.
pub const OPTION: &str = "generate";

/// A document about a tool's command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// A manual page, in roff, for section 1.
    Man,
    /// Completions for bash.
    CompleteBash,
    /// Completions for zsh.
    CompleteZsh,
    /// Completions for fish.
    CompleteFish,
}

impl Document {
    /// The document about `command`.
    pub fn of(self, command: Command) -> String {
        let mut command = command.version(env!("CARGO_PKG_VERSION"));
        let mut bytes = Vec::new();
        match self.shell() {
            Some(shell) => {
                let name = command.get_name().to_owned();
                clap_complete::generate(shell, &mut command, name, &mut bytes);
            }
            // Writing into memory does not fail.
            None => clap_mangen::Man::new(command).render(&mut bytes).unwrap_or_default(),
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn shell(self) -> Option<Shell> {
        match self {
            Self::Man => None,
            Self::CompleteBash => Some(Shell::Bash),
            Self::CompleteZsh => Some(Shell::Zsh),
            Self::CompleteFish => Some(Shell::Fish),
        }
    }
}

/// The option that asks for a document. Nothing else can be given with it, and no operand is
/// needed.
pub fn argument() -> Arg {
    Arg::new(OPTION)
        .long(OPTION)
        .value_name("DOCUMENT")
        .value_parser(EnumValueParser::<Document>::new())
        .exclusive(true)
        .hide_short_help(true)
        .help_heading("Output")
        .help("Print a manual page, or completions for a shell, and do nothing else")
}

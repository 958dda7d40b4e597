//! The `stepwell` command: what was logged, on the command line.
//!
//! Data goes to stdout, messages and progress to stderr, and [`exit`] lists the exit codes. Every command reads its
//! options from [`args`], does its work in a module of its own, and returns a [`error::CliError`], which is printed
//! once, here.

mod args;
mod commands;
mod csv_import;
mod demo;
mod error;
mod exchange_args;
mod exit;
mod messages;
mod out;
mod plot;
mod remote_args;
mod sql;
mod table;
mod text;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Printing fails only when nobody reads any more; the exit code still tells.
            let _ = error.print();
            return if error.use_stderr() { exit::Exit::Usage } else { exit::Exit::Success }.into();
        }
    };
    let mut out = out::Out::stdout();
    let result = commands::run(cli, &mut out).and_then(|()| out.finish());
    match result {
        Ok(()) => exit::Exit::Success.into(),
        // The reader of our output has left (`stepwell sql ... | head`): nothing is wrong and nobody is listening.
        // What a command found out (damaged files, say) still counts.
        Err(error) if out.reader_has_left() && exit::Exit::of(&error) == exit::Exit::Failure => {
            exit::Exit::Success.into()
        }
        Err(error) => {
            messages::print_error(&error);
            exit::Exit::of(&error).into()
        }
    }
}

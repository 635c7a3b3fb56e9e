//! `aiybiz`: parses the command line, opens a Host, runs what was asked for.

fn main() -> std::process::ExitCode {
    aiybiz_host::cli::main()
}

"""One module a subcommand: NAME, HELP, add_arguments(parser), run(args) -> exit code."""

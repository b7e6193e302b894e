"""The subcommands of `edged`, one module each: NAME, HELP, add_arguments(parser), run(arguments) -> exit code."""

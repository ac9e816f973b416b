"""The command line: what `nemo` does around the services. Nothing else imports it."""

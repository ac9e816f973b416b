"""Documents to plain text. All of it runs inside the process that `shared.sandbox` starts for one untrusted file."""

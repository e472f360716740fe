//! Runs preparers in Ansible: AWX and ansible-runner.

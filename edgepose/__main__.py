"""`python -m edgepose` is the same as the `edgepose` command."""

from edgepose.cli.door import main

if __name__ == "__main__":
    main()

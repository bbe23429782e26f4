"""The engine and its command line: moves atoms, watches them, writes them down, and looks at what was written."""


def version() -> str:
    """Version of the installed package; '0+unknown' where it is used without being installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("mdapp")
    except PackageNotFoundError:
        return "0+unknown"


def __getattr__(name: str) -> str:
    if name == "__version__":
        return version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

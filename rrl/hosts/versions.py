"""A host is refused before anything is built if its version was not tested."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet


def require(package: str, tested: str) -> None:
    """Check that ``package`` is installed in one of the ``tested`` versions, such as ">=1.16,<1.17".

    Raises:
      ImportError: it is absent, or another version; says what to install and how to try a newer one.
    """
    wanted = f"pip install '{package}{tested}'"
    try:
        found = version(package)
    except PackageNotFoundError:
        raise ImportError(f"{package} is not installed; rrl.hosts was tested with {package}{tested}: {wanted}"
                          ) from None
    if not SpecifierSet(tested, prereleases=True).contains(found):
        raise ImportError(
            f"{package} {found} is installed; rrl.hosts was tested with {package}{tested}, and hosts change the hooks "
            f"that it uses: {wanted}. To try a newer one, widen TESTED in rrl/hosts and run pytest tests/hosts"
        )

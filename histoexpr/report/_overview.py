"""What was compared, what to beware of, and the settings."""

from .. import _keys
from ._blocks import Details, Entries, Notice
from ._tables import fold_table
from ._words import flat, listed, plural

_PROTOCOLS = {
    "patient-out": "each patient by models fitted on the other patients",
    "section-out": "each section by models fitted on all other sections",
    "patient-k-fold": "each part of the patients by models fitted on the others",
    "train-test": "named test sections by models fitted on named training sections",
}
_SHOWN = ("note", "control")  # of a method, elsewhere on the page
# In this order, with their names on the page.
_SETTINGS = {
    "preset": "Preset",
    "featurizer": "Features",
    "expression": "Expression",
    "returned": "Expression that is retrieved and scored",
    "random_state": "Seed",
}


def lead(results):
    """In a sentence or two: what was compared, on what, and how."""
    first = results.drop_duplicates("method")
    n_controls = int(first["control"].sum())
    compared = [plural(len(first) - n_controls, "method")] * (n_controls < len(first))
    compared += [plural(n_controls, "control")] * bool(n_controls)
    sections = results.drop_duplicates(_keys.SECTION)
    patients = sorted(set(sections[_keys.PATIENT]) - {""})
    genes = results.loc[results["gene"] != "", "gene"].nunique()
    of = f" of {plural(len(patients), _keys.PATIENT)}" * bool(patients)
    spots = plural(int(sections["n_spots"].sum()), "spot")
    protocol = results["protocol"].iloc[0]
    return (
        f"{listed(compared)} predict {plural(genes, 'gene')} in "
        f"{plural(len(sections), _keys.SECTION)}{of} ({spots}), "
        f"{_PROTOCOLS.get(protocol, protocol)}."
    )


def notices(results):
    """What a reader must not miss.

    Returns
    -------
    list of Notice
    """
    found = []
    sections = results.drop_duplicates(_keys.SECTION)
    shared = sections["patient_in_training"]
    names = sections.loc[shared.fillna(False).astype(bool), _keys.SECTION]
    if len(names):
        found.append(
            Notice(
                "Patients on both sides.",
                f"The models that predicted {listed(names)} were fitted on other sections of the "
                "same patient, too. Such scores tell what the next section of a known patient can "
                "expect; of a new patient expect less (protocol patient-out).",
            )
        )
    if shared.isna().any():
        found.append(
            Notice(
                "Patients are not known.",
                "Sections of one patient may stand on both sides, which makes scores too high.",
            )
        )
    fits = results.drop_duplicates(["method", "fold"])
    failed = int((fits["error"] != "").sum())
    if failed:
        found.append(
            Notice(
                "Not complete.",
                f"{failed} of {plural(len(fits), 'fit')} failed; their sections are marked, and "
                "left out of the mean of the method.",
            )
        )
    return found


def describe_settings(results, further):
    """The settings in full, those of each method folded away.

    Returns
    -------
    list of blocks
    """
    described = results.attrs.get("settings", {})
    data = described.get("data", {})
    pairs = [*further.items(), ("Protocol", results["protocol"].iloc[0])]
    for key, title in _SETTINGS.items():
        if described.get(key) is not None:
            named = flat(described[key])
            pairs += [(": ".join(filter(None, (title, n))), value) for n, value in named]
    if "random_state" not in described:
        pairs.append(("Seed", listed(results["seed"].unique())))
    for name in ("n_spots", "n_genes", "fingerprint"):
        if name in data:
            pairs.append((f"Data: {name.removeprefix('n_')}", str(data[name])))
    blocks = [Entries(pairs)]
    if described.get("folds"):
        blocks.append(fold_table(described["folds"]))
    for name, method in described.get("methods", {}).items():
        rest = {k: v for k, v in method.items() if k not in ("class", "parameters", *_SHOWN)}
        model = {"class": method["class"], "parameters": method["parameters"]}
        blocks.append(Details(name, [*flat(model, "estimator"), *flat(rest)], method["note"]))
    return blocks


def versions(results):
    """Versions of what results depend on.

    Returns
    -------
    list of blocks
    """
    found = results.attrs.get("settings", {}).get("versions", {})
    return [Entries(list(found.items()))] if found else []

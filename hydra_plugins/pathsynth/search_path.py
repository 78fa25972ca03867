"""Lets `study=<name>` find the files in ``experiments/study``, and the user's own files win over shipped ones of the same name.

Other Hydra applications in the same environment see nothing of it.
"""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.plugins.search_path_plugin import SearchPathPlugin


class StudySearchPath(SearchPathPlugin):
    """Adds the studies' folder behind pathsynth's own configuration, and the folder of ``--config-dir`` before it.

    Hydra itself looks there last, where a changed copy of a shipped file would never be found.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Change the search path only for pathsynth's own applications."""

        from pathsynth.config.shipped import conf_folder, studies_folder, user_folder

        main = next((element.path for element in search_path.get_path() if element.provider == "main"), None)
        if main is not None and main.removeprefix("file://") == str(conf_folder()):
            search_path.append("pathsynth-studies", f"file://{studies_folder()}")
            own = user_folder()
            if own:
                search_path.prepend("pathsynth-own", f"file://{own}", SearchPathQuery(provider="main"))

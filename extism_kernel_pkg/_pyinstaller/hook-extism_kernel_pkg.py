"""The modules and their info are data, which PyInstaller does not see by itself."""

from PyInstaller.utils.hooks import collect_data_files

datas = collect_data_files("extism_kernel_pkg")

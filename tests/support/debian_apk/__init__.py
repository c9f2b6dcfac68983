"""Makes a signed APK repository of Debian's own packages: base packages for tests and the demo.

Where no APK repository can be reached, Debian's packages usually can. They are fetched with
``apt-get`` (which verifies them), merged into ``/usr``, and written as ``.apk`` files whose index
is signed with a key made on the spot. Maintainer scripts are dropped; the few results of them that
an image needs are made here.
"""

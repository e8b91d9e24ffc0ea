# SPDX-License-Identifier: Apache-2.0
# The Debian package of the VPP plugin, for the VPP that it was built for. VPP's own
# add_vpp_packaging takes the version from a git tag, which an archive of the sources does not have.
set(component vpp-plugin-hashmvt)
string(REGEX MATCH "^[0-9.]+" release ${HASHMVT_VPP_VERSION})

install(FILES LICENSE DESTINATION share/doc/${component} RENAME copyright COMPONENT ${component})
install(FILES configs/vpp-startup.conf DESTINATION share/doc/${component}/examples
        COMPONENT ${component})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR HashMVT)
set(CPACK_PACKAGE_CONTACT "HashMVT developers")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION}+vpp${release})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL ${component})
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_VPP-PLUGIN-HASHMVT_PACKAGE_NAME ${component})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "vpp (= ${HASHMVT_VPP_VERSION})")
set(CPACK_COMPONENT_VPP-PLUGIN-HASHMVT_DESCRIPTION
    "Stateful NAT44 on match-value tables, as a plugin of VPP ${HASHMVT_VPP_VERSION}.
 One NAT instance for each worker; instances share nothing and are added and taken away while
 traffic runs.")
include(CPack)
